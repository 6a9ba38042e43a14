//! Values of annotations: lists of ports and subnets, quantities, levels.

use weft_kube::inject::{PortList, Subnet, check_setting};

/// `PortList`, `Subnet` and `check_setting`.
///
/// # Panics
/// When what was read isn't read alike once it is written, or a list has ports that nobody wrote.
pub fn kube_setting(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (key, value) = text.split_once('\n').unwrap_or(("skip-inbound-ports", text));
    if let Err(reason) = check_setting(&format!("config.linkerd.io/{key}"), value) {
        assert!(!reason.is_empty());
    }
    if let Ok(ports) = value.parse::<PortList>() {
        let written = ports.to_string();
        assert_eq!(written.parse::<PortList>().as_ref(), Ok(&ports), "{written}");
        assert!(!ports.contains(0));
        assert_eq!(ports.is_empty(), !value.contains(|c: char| c.is_ascii_digit()), "{value:?}");
    }
    if let Ok(subnet) = value.parse::<Subnet>() {
        assert_eq!(subnet.to_string().parse(), Ok(subnet));
    }
}
