//! Any text is read without a panic, every error can be displayed, and every resource survives a round trip.
//!
//! `cargo xtask fuzz manifest`

#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::Colour;
use model::resource::check::Severity;

fuzz_target!(|text: &str| {
    let mut manifests = manifest::parse("fuzz", text);
    manifests.check(&[], Severity::Warning);
    for diagnostic in &manifests.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
        assert!(!diagnostic.render(Colour::Never).is_empty());
    }
    for resource in manifests.resources() {
        let written = manifest::to_yaml(resource).expect("every resource can be written");
        let again = manifest::parse("again", &written);
        assert_eq!(again.documents.first().map(|document| &document.resource), Some(resource), "{written}");
    }
});
