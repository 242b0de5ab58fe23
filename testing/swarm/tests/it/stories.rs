//! Every script in `scenarios/` has its expected output beside it. `INSTA_UPDATE=always cargo test -p swarm` rewrites that.

use std::path::Path;

use swarm::scenario::run_script;

#[test]
fn every_scenario_has_its_expected_output() {
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
            let story = run_script(&std::fs::read_to_string(&script).unwrap()).unwrap();
            insta::assert_snapshot!(script.file_stem().unwrap().to_str().unwrap(), story);
        }
    });
}

#[test]
fn an_invalid_line_is_reported_by_its_number() {
    let error = run_script("0s declare shop\n5s fly shop\n").unwrap_err();
    assert!(error.to_string().starts_with("line 2 "), "{error}");
}
