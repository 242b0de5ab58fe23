//! Every script in `scenarios/` has the output beside it. `INSTA_UPDATE=always cargo test -p swarm` writes it anew.

use std::path::Path;

use swarm::scenario::tell;

#[test]
fn every_story_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    scripts.sort();
    assert!(scripts.len() >= 8, "the stories are in {}", folder.display());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for script in scripts {
            let story = tell(&std::fs::read_to_string(&script).unwrap()).unwrap();
            insta::assert_snapshot!(script.file_stem().unwrap().to_str().unwrap(), story);
        }
    });
}

#[test]
fn a_line_that_is_not_understood_is_named() {
    let error = tell("0s declare shop\n5s fly shop\n").unwrap_err();
    assert!(error.to_string().starts_with("line 2 "), "{error}");
}
