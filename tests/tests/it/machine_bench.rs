//! The bench of one machine, in small, so that it can't rot. Its figures are of no interest here.

use std::path::Path;
use std::process::Command;

use weft_tests::mesh::told;
use weft_tests::{built_binaries, can_run};

#[test]
fn the_bench_of_one_machine_works() {
    if !can_run() {
        return;
    }
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("bench/machine");
    let output = Command::new(bench).args(["--quick", "--binaries"]).arg(built_binaries().unwrap()).output().unwrap();
    let said = told(&output);
    assert!(output.status.success(), "{said}");
    for part in [
        "a policy of one namespace | 3 |",
        "a policy of the whole mesh | 6 |",
        "all proxies are back",
        "| a proxy | 6 |",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}
