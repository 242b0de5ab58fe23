use manifest::DIAGNOSTICS_MAX;

use crate::{diagnostics_of, service};

/// Each of `levels` lists holds the one before nine times: 9^levels texts when copied out.
fn bomb(levels: usize) -> String {
    let mut text = "a0: &a0 [lol]\n".to_owned();
    for level in 1..=levels {
        let before = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{before}]\n");
    }
    text
}

#[test]
fn a_billion_laughs_document_is_refused_before_expansion() {
    let text = diagnostics_of(&bomb(12));
    assert!(text.contains("the file has more than 524288 values"), "{text}");
}

#[test]
fn a_repeated_long_text_counts_by_its_length() {
    let long = "x".repeat(1 << 20);
    let aliases = vec!["*a"; 64].join(", ");
    for text in [
        format!("a: &a \"{long}\"\nb: [{aliases}]\n"),
        format!("a: &a\n  ? \"{long}\"\n  : 1\nb:\n{}", "  - <<: *a\n".repeat(64)),
    ] {
        let text = diagnostics_of(&text);
        assert!(text.contains("the file has more than 524288 values"), "{}", text.len());
    }
}

#[test]
fn the_nesting_of_aliases_is_limited() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(diagnostics_of(&text).contains("nests deeper than 48"));
}

#[test]
fn an_alias_within_itself_is_refused() {
    assert!(diagnostics_of("a: &a [*a]\n").contains("this alias refers to a node that contains it"));
}

#[test]
fn the_nesting_of_brackets_is_limited() {
    let text = diagnostics_of(&"[".repeat(100_000));
    assert!(text.contains("invalid YAML"), "{text}");
}

#[test]
fn diagnostics_above_the_limit_are_counted() {
    let fields: String = (0..2 * DIAGNOSTICS_MAX).map(|i| format!("  unknown{i}: 1\n")).collect();
    let manifests = manifest::parse("shop.yaml", &service(&fields));
    assert_eq!(
        (manifests.diagnostics.len(), manifests.diagnostics_left_out),
        (DIAGNOSTICS_MAX, DIAGNOSTICS_MAX)
    );
}

/// With a suggestion for each, which nobody sees, a megabyte of such fields took half a minute.
#[test]
fn a_hundred_thousand_unknown_fields_are_only_counted() {
    let fields: String = (0..100_000).map(|i| format!("  unknown{i}: 1\n")).collect();
    let manifests = manifest::parse("shop.yaml", &service(&fields));
    assert_eq!(manifests.diagnostics_left_out, 100_000 - DIAGNOSTICS_MAX);
    let last = &manifests.diagnostics[DIAGNOSTICS_MAX - 1];
    assert!(last.text.starts_with("unknown field \"unknown99\""), "{last}");
}

#[test]
fn a_very_long_line_is_reported_but_not_shown() {
    let text = diagnostics_of(&format!(
        "{{\"apiVersion\": \"homeostat/v1\", \"kind\": \"Service\", \"x\": \"{}\"}}",
        "y".repeat(100_000)
    ));
    assert!(text.len() < 5000 && text.contains("shop.yaml:1:"), "{}", text.len());
}

#[test]
fn anchors_aliases_and_merge_keys_mean_what_yaml_says() {
    let text = service(
        "  ports: [{name: http}]\n  probes:\n    readiness: &probe\n      http: {}\n      every: 2s\n    liveness:\n      <<: *probe\n      every: 5s\n  stop: {grace: 3s, drain: 1s}\n",
    );
    let manifests = manifest::parse("shop.yaml", &text);
    assert_eq!(manifests.diagnostics, []);
    let written = serde_json::to_value(&manifests.documents[0].resource).expect("JSON");
    assert_eq!(written["spec"]["probes"]["liveness"]["every"], "5s");
    assert_eq!(written["spec"]["probes"]["liveness"]["http"]["path"], "/");
}

#[test]
fn empty_documents_are_ignored() {
    for text in ["", "---\n", "# only a comment\n", "---\n---\n...\n", "null\n", "\u{feff}"] {
        let manifests = manifest::parse("empty", text);
        assert_eq!((manifests.documents.len(), manifests.diagnostics.len()), (0, 0), "{text:?}");
    }
}

#[test]
fn an_error_in_one_document_does_not_hide_the_next() {
    let text = format!("a: [1\n---\n{}", service(""));
    let manifests = manifest::parse("shop.yaml", &text);
    assert_eq!((manifests.documents.len(), manifests.diagnostics.len()), (1, 1));
}

#[test]
fn json_with_tabs_and_escapes_is_read() {
    let text = "{\n\t\"apiVersion\": \"homeostat/v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"shop\"},\n\t\"spec\": {\n\t\t\"run\": {\"command\": [\"\\ud83d\\ude00\\/\\u00e9\"]}\n\t}\n}\n";
    let manifests = manifest::parse("shop.json", text);
    assert_eq!(manifests.diagnostics, []);
    let written = serde_json::to_value(&manifests.documents[0].resource).expect("JSON");
    assert_eq!(written["spec"]["run"]["command"][0], "\u{1f600}/\u{e9}");
}

#[test]
fn windows_line_ends_are_accepted() {
    let manifests =
        manifest::parse("shop.yaml", &service("  stop: {grace: 1s}\n  evil: 1\n").replace('\n', "\r\n"));
    assert_eq!(manifests.diagnostics.len(), 1);
    assert_eq!(manifests.diagnostics[0].position(), Some((7, 3)));
}
