//! Programs that print measurements.

use model::measure::MeasurementResult;
use serde_json::json;

use crate::{source, values, why};

fn shell(script: &str) -> serde_json::Value {
    json!({"command": {"argv": ["sh", "-c", script]}})
}

async fn run(script: &str) -> MeasurementResult {
    source(&shell(script), "60s").measure(&[]).await
}

#[tokio::test]
async fn a_number_is_a_value_and_an_exposition_has_the_named_metric() {
    assert_eq!(values(&run("echo 12.5").await), [12_500]);
    assert_eq!(values(&run("printf 'jobs{q=\"a\"} 1\\njobs{q=\"b\"} 2\\nother 3\\n'").await), [1000, 2000]);
    assert_eq!(run("echo other 3").await, MeasurementResult::Series(Vec::new()));
    assert_eq!(run("true").await, MeasurementResult::Series(Vec::new()));
    let named = json!({"command": {"argv": ["sh", "-c", "echo other 3"], "series": "other"}});
    assert_eq!(values(&source(&named, "60s").measure(&[]).await), [3000]);
}

#[tokio::test]
async fn a_program_runs_in_its_working_directory() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("length"), "7\n").unwrap();
    let from = json!({"command": {"argv": ["cat", "length"], "workingDirectory": folder.path()}});
    assert_eq!(values(&source(&from, "60s").measure(&[]).await), [7000]);
}

#[tokio::test]
async fn a_failed_program_is_explained() {
    for (script, sentence) in [
        ("echo begun >&2; echo 'no queue' >&2; exit 3", "ended with exit status: 3: no queue"),
        ("echo '<html>'", "is not in the text format of metrics: line 1: invalid metric name"),
        ("echo NaN", "NaN is not a number"),
        ("printf '\\377'", "is not UTF-8 text"),
        ("yes", "longer than 4194304 bytes"),
    ] {
        let why = why(&run(script).await);
        assert!(why.contains(sentence), "{script}: {why}");
    }
    let from = json!({"command": {"argv": ["/nowhere/there-is-no-such-program"]}});
    assert!(why(&source(&from, "60s").measure(&[]).await).contains("could not run"));
}

#[tokio::test]
async fn a_program_that_does_not_end_is_killed_with_its_process_group() {
    let folder = tempfile::TempDir::new().unwrap();
    let pipe = folder.path().join("held");
    // The reader sees the end of the pipe once no process holds it open for writing.
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::read(pipe).unwrap())
    };
    let script = format!("exec 9>{}; echo held >&9; sleep 1000 & sleep 1000", pipe.display());
    let why = why(&source(&shell(&script), "2s").measure(&[]).await);
    assert!(why.contains("did not answer within 2s"), "{why}");
    assert_eq!(reader.join().unwrap(), b"held\n");
}
