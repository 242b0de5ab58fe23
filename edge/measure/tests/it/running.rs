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
async fn a_number_is_a_value_and_a_text_of_metrics_has_the_one_that_is_meant() {
    assert_eq!(values(&run("echo 12.5").await), [12_500]);
    assert_eq!(values(&run("printf 'jobs{q=\"a\"} 1\\njobs{q=\"b\"} 2\\nother 3\\n'").await), [1000, 2000]);
    assert_eq!(run("echo other 3").await, MeasurementResult::Series(Vec::new()));
    assert_eq!(run("true").await, MeasurementResult::Series(Vec::new()));
    let named = json!({"command": {"argv": ["sh", "-c", "echo other 3"], "series": "other"}});
    assert_eq!(values(&source(&named, "60s").measure(&[]).await), [3000]);
}

#[tokio::test]
async fn it_runs_in_its_folder() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("length"), "7\n").unwrap();
    let from = json!({"command": {"argv": ["cat", "length"], "workingDirectory": folder.path()}});
    assert_eq!(values(&source(&from, "60s").measure(&[]).await), [7000]);
}

#[tokio::test]
async fn what_goes_wrong_with_a_program_is_said() {
    for (script, sentence) in [
        ("echo begun >&2; echo 'no queue' >&2; exit 3", "ended with exit status: 3: no queue"),
        ("echo '<html>'", "answered no metrics as text: line 1: no name of a metric"),
        ("echo NaN", "NaN is not a number"),
        ("printf '\\377'", "answered no UTF-8 text"),
        ("yes", "answered more than 4194304 bytes"),
    ] {
        let why = why(&run(script).await);
        assert!(why.contains(sentence), "{script}: {why}");
    }
    let from = json!({"command": {"argv": ["/nowhere/there-is-no-such-program"]}});
    assert!(why(&source(&from, "60s").measure(&[]).await).contains("could not run"));
}

#[tokio::test]
async fn a_program_that_does_not_end_is_killed_with_all_that_it_started() {
    let folder = tempfile::TempDir::new().unwrap();
    let pipe = folder.path().join("held");
    // Whoever holds the pipe open for writing is alive: its reader sees the end when nobody is any more.
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
