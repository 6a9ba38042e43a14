//! A report as one archive: a folder of its files, in `tar`, compressed with `gzip`. Pure.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::Piece;

/// The archive's bytes. Its files stand in `folder`, are nobody's but their owner's, and are of the time `now`,
/// seconds since the Unix epoch.
///
/// # Errors
/// When a path is longer than the format can hold.
pub fn archive(folder: &str, pieces: &[Piece], now: u64) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for Piece { path, text } in pieces {
        let mut header = Header::new_gnu();
        header.set_mode(0o600);
        header.set_mtime(now);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, format!("{folder}/{path}"), text.as_bytes())?;
    }
    builder.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use tar::Archive;

    use super::*;

    #[test]
    fn files_come_out_as_they_went_in() {
        let piece = |path: &str| Piece { path: path.to_owned(), text: format!("text of {path}") };
        let long = format!("shop/logs/{}.log", "x".repeat(200));
        let pieces = ["version.txt", "shop/pods.json", &long].map(piece);
        let bytes = archive("report", &pieces, 1_800_000_000).unwrap();
        let mut found = Vec::new();
        for entry in Archive::new(GzDecoder::new(&*bytes)).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let path = entry.path().unwrap().strip_prefix("report").unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push(Piece { path, text });
        }
        assert_eq!(found, pieces);
    }
}
