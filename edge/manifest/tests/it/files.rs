use std::fs;
use std::path::Path;

use manifest::{FILE_BYTES_MAX, Input, Manifests};
use model::resource::Resource;
use model::resource::check::Severity;

use crate::service;

fn read(path: &Path) -> Manifests {
    manifest::read(&[Input::from_argument(path)], &mut std::io::empty())
}

fn named(name: &str) -> String {
    service("").replace("shop", name)
}

fn names(manifests: &Manifests) -> Vec<&str> {
    manifests.resources().map(Resource::name).collect()
}

#[test]
fn the_manifests_of_a_folder_are_read_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in [
        ("b.yml", named("b")),
        ("a.yaml", format!("{}---\n{}", named("a1"), named("a2"))),
        (
            "c.json",
            serde_json::json!({"apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": "c"},
            "spec": {"run": {"command": ["c"]}}})
            .to_string(),
        ),
        ("notes.txt", "not: a manifest".to_owned()),
    ] {
        fs::write(folder.path().join(file), text).expect("a file");
    }
    fs::create_dir(folder.path().join("folder.yaml")).expect("a folder within");
    let manifests = read(folder.path());
    assert_eq!(names(&manifests), ["a1", "a2", "b", "c"]);
    assert_eq!(manifests.diagnostics, []);
}

#[test]
fn entries_of_a_folder_that_are_not_files_are_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.yaml"), named("a")).expect("a file");
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("b.yaml")).expect("a socket");
    let manifests = read(folder.path());
    assert_eq!((names(&manifests), manifests.diagnostics.len()), (vec!["a"], 0));
}

#[test]
fn a_file_without_resources_is_refused_and_an_empty_document_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let comment = folder.path().join("a.yaml");
    fs::write(&comment, "# later\n---\n").expect("a file");
    for path in [comment.as_path(), folder.path(), Path::new("-")] {
        let messages: Vec<String> = read(path).diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 1, "{path:?}: {messages:?}");
        assert!(messages[0].ends_with(": no resource is declared here"), "{messages:?}");
    }
    fs::write(folder.path().join("b.yaml"), named("b")).expect("a file");
    assert_eq!(read(folder.path()).diagnostics, []);
}

#[test]
fn one_bad_file_does_not_hide_what_is_wrong_with_another() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.yaml"), "kind: [").expect("a file");
    fs::write(folder.path().join("b.yaml"), b"\n\xff").expect("a file");
    fs::write(folder.path().join("c.yaml"), named("c")).expect("a file");
    let mut manifests = read(folder.path());
    manifests.check(&[], Severity::Error);
    assert_eq!(names(&manifests), ["c"]);
    let messages: Vec<String> = manifests.diagnostics.iter().map(ToString::to_string).collect();
    assert!(messages[0].contains("a.yaml:1:") && messages[0].contains("invalid YAML"), "{messages:?}");
    assert!(messages[1].contains("b.yaml: the file is not UTF-8 text: line 2"), "{messages:?}");
    assert_eq!(messages.len(), 2);
    assert!(manifests.has_errors());
}

#[test]
fn standard_input_is_read_once() {
    let text = named("shop");
    let inputs = [Input::from_argument("-"), Input::Stdin];
    let manifests = manifest::read(&inputs, &mut text.as_bytes());
    assert_eq!(names(&manifests), ["shop"]);
    assert_eq!(
        manifests.diagnostics[0].to_string(),
        "<stdin>: standard input can be read only once; give - once"
    );
}

#[test]
fn a_missing_file_is_reported_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = read(&folder.path().join("shop.yaml"));
    let messages = missing.diagnostics[0].to_string();
    assert!(
        messages.ends_with("shop.yaml: could not find the manifest: there is no such file or folder"),
        "{messages}"
    );
    let empty = read(folder.path());
    assert!(empty.diagnostics[0].to_string().contains("there is no manifest in this folder"));
}

#[test]
fn a_file_above_the_limit_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.yaml");
    let file = fs::File::create(&path).expect("a file");
    file.set_len(FILE_BYTES_MAX + 1).expect("a sparse file");
    let messages = read(&path).diagnostics[0].to_string();
    assert!(messages.contains("the file has more than 4194304 bytes; split it"), "{messages}");
}

#[test]
fn a_working_directory_is_relative_to_the_folder_of_its_manifest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.yaml");
    let with = |directory: &str| {
        service("").replace("[./shop]", &format!("[./shop], workingDirectory: {directory}"))
    };
    let texts = [named("none"), with("./here"), with("/there"), with("../up")];
    fs::write(&path, texts.join("---\n")).expect("a file");
    let mut manifests = read(&path);
    manifests.resolve_paths(Path::new("/elsewhere")).expect("folders of the tests are UTF-8");
    let directories: Vec<String> = manifests
        .resources()
        .filter_map(|resource| match resource {
            Resource::Service(service) => service.spec.run.working_directory.clone(),
            Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
        })
        .collect();
    let folder = folder.path().to_str().expect("UTF-8");
    assert_eq!(
        directories,
        [folder.to_owned(), format!("{folder}/here"), "/there".into(), format!("{folder}/../up")]
    );
}

#[test]
fn files_of_certificates_and_external_balancers_are_relative_to_the_folder_of_their_manifest() {
    let text = service(
        "  ports: [{name: http}]\n  expose: {listen: \"127.0.0.1:443\", port: http, tls: {certificate: tls/shop.pem, key: /keys/shop, acme: {directory: \"https://ca/\", hosts: [a.b], caFile: ca.pem}}, external: [{format: nginx, file: lb/shop.conf, check: [a], reload: [b]}]}\n",
    );
    let mut manifests = manifest::parse("<memory>", &text);
    assert_eq!(manifests.diagnostics, []);
    manifests.resolve_paths(Path::new("/here")).expect("UTF-8");
    let Resource::Service(service) = &manifests.documents[0].resource else {
        panic!("a service was written")
    };
    let expose = service.spec.expose.as_ref().expect("it was written");
    let tls = expose.tls.as_ref().expect("it was written");
    let pair = &tls.certificates[0];
    assert_eq!(tls.acme.as_ref().and_then(|acme| acme.ca_file.as_deref()), Some("/here/ca.pem"));
    assert_eq!(expose.external[0].file, "/here/lb/shop.conf");
    assert_eq!((pair.certificate.as_str(), pair.key.as_str()), ("/here/tls/shop.pem", "/keys/shop"));
}

#[test]
fn paths_of_standard_input_are_relative_to_the_current_folder() {
    let mut manifests = manifest::parse("<memory>", &named("shop"));
    manifests.resolve_paths(Path::new("/here")).expect("UTF-8");
    let Resource::Service(service) = &manifests.documents[0].resource else {
        panic!("a service was written")
    };
    assert_eq!(service.spec.run.working_directory.as_deref(), Some("/here"));
}

#[test]
fn existing_resources_are_considered_but_not_reported() {
    let known = manifest::parse("known", &named("db")).documents.remove(0).resource;
    let mut manifests = manifest::parse("new", &service("  dependsOn: [{service: db}]\n"));
    manifests.check(std::slice::from_ref(&known), Severity::Error);
    assert_eq!(manifests.diagnostics, []);
    // The same name again is the next state of the same resource, no duplicate.
    let mut again = manifest::parse("again", &named("db"));
    again.check(&[known], Severity::Error);
    assert_eq!(again.diagnostics, []);
}

#[test]
fn the_items_of_a_list_are_separate_manifests() {
    let indented = |name: &str| named(name).replace('\n', "\n    ").trim_end().to_owned();
    for head in ["apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\n", ""] {
        let text = format!("{head}items:\n  - {}\n  - {}\n", indented("a"), indented("b"));
        let manifests = manifest::parse("list", &text);
        assert_eq!(manifests.diagnostics, [], "{text}");
        assert_eq!(names(&manifests), ["a", "b"]);
    }
    let wrong = manifest::parse("list", "items:\n  - kind: Servise\n    apiVersion: homeostat/v1\n");
    assert_eq!(
        wrong.diagnostics[0].to_string(),
        "list:2:11: kind: \"Servise\" is not a kind; did you mean Service?"
    );
}

#[test]
fn a_service_that_is_being_deleted_is_not_declared_again() {
    let status = |is_true: &str| {
        format!(
            "status:\n  conditions:\n  - type: Exposed\n    status: 'True'\n  - type: Terminating\n    status: '{is_true}'\n"
        )
    };
    let text = format!("{}{}---\n{}{}", named("a"), status("True"), named("b"), status("False"));
    let manifests = manifest::parse("all", &text);
    assert_eq!(names(&manifests), ["b"]);
    assert!(!manifests.has_errors());
}

#[test]
fn observed_resources_are_ignored_with_one_notice() {
    let service = named("a").replace('\n', "\n    ").trim_end().to_owned();
    let replica = |number: u32| {
        format!(
            "apiVersion: homeostat/v1\n    kind: Replica\n    metadata: {{name: a-{number}}}\n    spec: {{}}\n    status: {{phase: Running}}"
        )
    };
    let text = format!("items:\n  - {service}\n  - {}\n  - {}\n", replica(0), replica(1));
    let manifests = manifest::parse("all", &text);
    assert_eq!(names(&manifests), ["a"]);
    let messages: Vec<String> = manifests.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].ends_with(
            "this is an observed state, not a declaration: it is ignored, as are all others like it"
        ),
        "{messages:?}"
    );
    assert!(!manifests.has_errors());

    let written = manifest::parse("hand", "apiVersion: homeostat/v1\nkind: Replica\nmetadata: {name: a-0}\n");
    assert!(written.has_errors(), "it cannot be declared");
    assert!(
        written.diagnostics[0].to_string().contains("\"Replica\" is not a kind"),
        "{:?}",
        written.diagnostics
    );
}
