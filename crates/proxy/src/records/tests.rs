//! What a proxy makes of addresses while nobody tells it of them.

use weft_mesh::record::{Cidr, Undeclared};

use super::*;
use crate::limits::DESTINATION_IDLE;

const INSIDE: &str = "10.244.0.9";
const OUTSIDE: &str = "203.0.113.9";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Records that were told where the mesh's addresses lie, and the orders that they send.
fn records() -> (Rc<Records>, mpsc::UnboundedReceiver<Order>) {
    let (orders, asked) = mpsc::unbounded_channel();
    let records = Rc::new(Records::new(orders));
    let networks = vec![Cidr::new(ip("10.0.0.0"), 8).unwrap()];
    records.apply(Update::Trust(Trust { networks, ..Trust::default() }), Instant::now()).unwrap();
    (records, asked)
}

fn tell(records: &Records, presence: Presence) {
    records.apply(Update::Control(presence), Instant::now()).unwrap();
}

fn destination(address: &str) -> Update {
    Update::Destination(Box::new(Destination {
        host: "api".to_owned(),
        service: "api".to_owned(),
        namespace: "shop".to_owned(),
        addresses: vec![ip(address)],
        ports: Vec::new(),
        undeclared: Undeclared::Forward,
        endpoints: Vec::new(),
    }))
}

fn found(answer: Result<Option<Rc<Service>>, Failure>) -> Result<bool, Cause> {
    answer.map(|service| service.is_some()).map_err(|failure| failure.cause)
}

/// No timer is advanced but when nothing else can go on, so that a call that needs none is at once.
#[tokio::test(start_paused = true)]
async fn while_nobody_can_be_asked_only_what_is_surely_outside_goes_on() {
    let (records, mut asked) = records();
    tell(&records, Presence::Away);
    let begun = Instant::now();
    assert_eq!(found(records.by_address(ip(OUTSIDE)).await), Ok(false));
    assert_eq!(begun.elapsed().as_secs(), 0);
    assert!(asked.try_recv().is_err(), "nothing is kept of what nobody can be asked");
    assert_eq!(found(records.by_address(ip(INSIDE)).await), Err(Cause::Unjudged));
    assert_eq!(begun.elapsed(), RECORD_WAIT);
    assert_eq!(found(records.by_host("203.0.113.9").await), Err(Cause::Unjudged), "a name is no address");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_let_go_on_when_the_control_plane_goes_away() {
    let (records, _asked) = records();
    let begun = Instant::now();
    let waiting = records.by_address(ip(OUTSIDE));
    let (answer, ()) = tokio::join!(waiting, async { tell(&records, Presence::Away) });
    assert_eq!((found(answer), begun.elapsed().as_secs()), (Ok(false), 0));
}

#[tokio::test(start_paused = true)]
async fn where_the_mesh_lies_may_be_unknown_and_nothing_is_outside_then() {
    let (orders, _asked) = mpsc::unbounded_channel();
    let records = Records::new(orders);
    tell(&records, Presence::Away);
    assert_eq!(found(records.by_address(ip(OUTSIDE)).await), Err(Cause::Unjudged));
}

#[tokio::test(start_paused = true)]
async fn what_was_told_stays_while_nobody_could_tell_it_again() {
    let (records, _asked) = records();
    let told = async { records.apply(destination(INSIDE), Instant::now()).unwrap() };
    let (answer, _changed) = tokio::join!(records.by_address(ip(INSIDE)), told);
    assert_eq!(found(answer), Ok(true));
    tell(&records, Presence::Away);
    tokio::time::advance(2 * DESTINATION_IDLE).await;
    assert!(records.sweep(Instant::now()));
    assert_eq!(found(records.by_address(ip(INSIDE)).await), Ok(true));
    tell(&records, Presence::There);
    tokio::time::advance(2 * DESTINATION_IDLE).await;
    assert!(!records.sweep(Instant::now()));
}
