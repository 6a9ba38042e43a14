//! Words of messages that several of them share. Pure.

/// A few names, and how many more.
pub(crate) fn few(names: &[String]) -> String {
    const FEW: usize = 3;
    let shown = names.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
