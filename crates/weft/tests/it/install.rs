//! `weft install` without a cluster: what it prints, and what it refuses.

use crate::room::Room;

#[test]
fn manifests_are_printed_alike_each_time() {
    let room = Room::new();
    let first = room.run("install --ignore-cluster");
    assert!(first.starts_with("exit 0\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: weft\n"), "{first}");
    assert!(!first.contains("--- stderr"), "{first}");
    assert_eq!(room.run("install --ignore-cluster"), first);
    let elsewhere = room.run("install --ignore-cluster -L mesh");
    assert_eq!(elsewhere.matches("namespace: mesh\n").count(), 13, "{elsewhere}");
}

#[test]
fn values_come_from_files_and_flags() {
    let room = Room::new().file("mine.yaml", "trustDomain: a.example\nlogLevel: warn\n");
    let printed = room.run("install --ignore-cluster -f mine.yaml --set trustDomain=b.example -o json");
    assert!(printed.contains("\"kind\": \"List\""), "{printed}");
    assert!(printed.contains("trustDomain: b.example") && printed.contains("logLevel: warn"), "{printed}");
}

#[test]
fn definitions_are_printed_alone() {
    let printed = Room::new().run("install --crds --ignore-cluster");
    assert_eq!(printed.matches("\nkind: CustomResourceDefinition\n").count(), 2, "{printed}");
    assert_eq!(printed.matches("---\n").count(), 2, "{printed}");
}

#[test]
fn mistakes_say_what_to_do() {
    let room = Room::new().file("broken.yaml", "a: [");
    insta::assert_snapshot!(room.run("install --ignore-cluster --set trustdomain=x"), @r#"
    exit 1
    --- stderr
    error: --set: no value "trustdomain"; the nearest is "trustDomain"
    hint: docs/kubernetes.md lists the values, with their defaults
    "#);
    insta::assert_snapshot!(room.run("install --ignore-cluster --set images.pullPolicy=Maybe"), @r#"
    exit 1
    --- stderr
    error: images.pullPolicy: expected Always, IfNotPresent or Never, found "Maybe"
    hint: docs/kubernetes.md lists the values, with their defaults
    "#);
    insta::assert_snapshot!(room.run("install --ignore-cluster -f none.yaml"), @r"
    exit 1
    --- stderr
    error: read none.yaml: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(room.run("install --ignore-cluster -L Weft"), @r#"
    exit 2
    --- stderr
    error: invalid value 'Weft' for '--weft-namespace <NAMESPACE>': expected a namespace's name such as weft, found "Weft"

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(room.run("install"), @r"
    exit 1
    --- stderr
    error: read the kubeconfig: /nonexistent/.kube/config: No such file or directory (os error 2)
    hint: name one with --kubeconfig FILE or KUBECONFIG; or go without a cluster: --ignore-cluster
    ");
    insta::assert_snapshot!(room.run("uninstall --kubeconfig none"), @r"
    exit 1
    --- stderr
    error: read the kubeconfig: none: No such file or directory (os error 2)
    hint: name one with --kubeconfig FILE or KUBECONFIG
    ");
    insta::assert_snapshot!(room.run("check --pre --kubeconfig broken.yaml"), @r"
    exit 1
    kubernetes-api
    --------------
    × can initialize the client
        read the kubeconfig: failed to parse kubeconfig YAML: error: line 1 column 4: unclosed bracket '['
        hint: name one with --kubeconfig FILE or KUBECONFIG

    Status check results are ×
    ");
    insta::assert_snapshot!(room.run("stat --local --context x"), @r"
    exit 2
    --- stderr
    error: the argument '--local' cannot be used with '--context <NAME>'

    Usage: weft stat --local [SERVICE|KIND]...

    For more information, try '--help'.
    ");
}
