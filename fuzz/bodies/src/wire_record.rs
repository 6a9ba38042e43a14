//! Records, as the control plane sends them.

use weft_wire::record::{DESTINATION_TYPE, INBOUND_TYPE, Record, TRUST_TYPE};

use crate::support::calls::verdicts;
use crate::support::input::choice;

/// `Record::decode`; the first byte says of which type.
///
/// # Panics
/// When bytes are read as a record that isn't the same once written and read again, that has two
/// spellings, or that can't be judged by.
pub fn wire_record(data: &[u8]) {
    let (kind, data) = choice(data);
    let type_url = [INBOUND_TYPE, DESTINATION_TYPE, TRUST_TYPE][usize::from(kind % 3)];
    let Ok(record) = Record::decode(type_url, data) else { return };
    assert_eq!(record.type_url(), type_url);
    assert!(!record.name().is_empty());
    let written = record.encode();
    let again = Record::decode(type_url, &written).expect("a record that was written can be read");
    assert_eq!(again, record);
    assert_eq!(again.encode(), written);
    assert!(record.aliases().is_sorted());
    match (&record, &again) {
        (Record::Inbound(inbound), Record::Inbound(again)) => assert_eq!(verdicts(inbound), verdicts(again)),
        (Record::Destination(destination), _) => {
            for port in &destination.ports {
                assert_eq!(destination.port(port.port), Some(*port));
            }
        }
        _ => {}
    }
}
