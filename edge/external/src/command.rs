//! Runs a balancer's check or reload: an argument list without a shell, for a limited time, with limited output.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Bytes that are kept of each output of a program; the rest is read and dropped, so that the program does not block.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// The most characters of an output that an error message quotes: a sentence or two.
const QUOTED_CHARS_MAX: usize = 400;

/// How long the outputs are read after the program has ended: a child that outlives it may hold them open for ever.
const LINGER_MAX: Duration = Duration::from_millis(200);

/// Why a program did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("`{program}` could not be started: {source}; check that it is installed and on the PATH")]
    Start { program: String, source: std::io::Error },
    #[error("`{command_line}` {status}{output}")]
    Failed { command_line: String, status: String, output: String },
    #[error("`{command_line}` did not end within {timeout:?} and was killed{output}")]
    TimedOut { command_line: String, timeout: Duration, output: String },
}

/// Runs a program with its arguments in `folder` and waits for success. After `timeout` everything in its process group is killed.
pub(crate) async fn run(arguments: &[String], folder: &Path, timeout: Duration) -> Result<(), RunError> {
    let program = arguments.first().map(String::as_str).unwrap_or_default();
    let start_failed = |source| RunError::Start { program: quoted(program), source };
    let mut command = Command::new(program);
    command.args(arguments.iter().skip(1)).current_dir(folder).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group(command.spawn().map_err(start_failed)?);
    let (out, err) = (group.0.stdout.take(), group.0.stderr.take());
    let (mut from_out, mut from_err) = (Vec::new(), Vec::new());
    let ended = {
        let mut reading = std::pin::pin!(async {
            tokio::join!(read(out, &mut from_out), read(err, &mut from_err));
        });
        let mut has_read_all = false;
        let ended = tokio::time::timeout(timeout, async {
            // Both are cancel safe: the readers keep what they have, and the wait is repeated.
            tokio::select! {
                status = group.0.wait() => return status,
                () = &mut reading => has_read_all = true,
            }
            group.0.wait().await
        });
        let ended = ended.await;
        if !has_read_all {
            // The rest of its output.
            let _ = tokio::time::timeout(LINGER_MAX, &mut reading).await;
        }
        ended
    };
    let output = output(&from_err, &from_out);
    let command_line = quoted(&arguments.join(" "));
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(RunError::Failed { command_line, status: describe(status), output }),
        Ok(Err(source)) => Err(start_failed(source)),
        Err(_elapsed) => Err(RunError::TimedOut { command_line, timeout, output }),
    }
}

/// A program and the process group that it leads. When it is dropped before its end, the whole group is killed.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // `None` once it was reaped, when its id may belong to another process.
        let pid = self.0.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(group) = pid {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = [0; 4096];
    // Output that cannot be read counts as none.
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let kept = OUTPUT_BYTES_MAX.saturating_sub(to.len()).min(read);
        to.extend_from_slice(&chunk[..kept]);
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The output of a program for an error message: its standard error, or else its standard output.
fn output(err: &[u8], out: &[u8]) -> String {
    let text = [err, out].map(|bytes| quoted(&String::from_utf8_lossy(bytes)));
    text.into_iter().find(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default()
}

/// `text` on one line, without control characters, and shortened.
fn quoted(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    let plain = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut cut: String = plain.take(QUOTED_CHARS_MAX).collect();
    if line.chars().nth(QUOTED_CHARS_MAX).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, timeout: Duration) -> Result<(), String> {
        let arguments = ["sh", "-c", script].map(str::to_owned);
        run(&arguments, Path::new("/"), timeout).await.map_err(|error| error.to_string())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_failure_has_the_status_and_the_output_on_one_line() {
        assert_eq!(sh("exit 0", LONG).await, Ok(()));
        let error = sh("echo out; echo 'bad\tline'  >&2; echo more >&2; exit 3", LONG).await.unwrap_err();
        assert!(error.ends_with("` ended with code 3: bad\u{fffd}line; more"), "{error}");
        assert!(sh("echo only; exit 1", LONG).await.unwrap_err().ends_with("code 1: only"));
        assert!(sh("kill -9 $$", LONG).await.unwrap_err().contains("was killed by signal 9"));
        let none = run(&["/no/such/program".to_owned()], Path::new("/"), LONG).await.unwrap_err();
        assert!(none.to_string().contains("could not be started"), "{none}");
    }

    #[tokio::test]
    async fn a_hanging_program_is_killed_with_its_process_group() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let error = sh(&script, Duration::from_millis(500)).await.unwrap_err();
        assert!(error.contains("did not end within 500ms and was killed"), "{error}");
        let child: u32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let stat = format!("/proc/{child}/stat");
        // The killed process may remain as a zombie until its new parent waits for it.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_long_output_neither_blocks_the_program_nor_fills_the_memory() {
        let error = sh("yes | head -c 1000000; exit 1", LONG).await.unwrap_err();
        assert!(error.len() < 3 * QUOTED_CHARS_MAX, "{}", error.len());
    }

    #[tokio::test]
    async fn a_daemon_that_outlives_the_program_is_not_waited_for() {
        let begun = os::since_boot();
        assert_eq!(sh("(exec sleep 30) & exit 0", LONG).await, Ok(()));
        assert!(os::since_boot() - begun < Duration::from_secs(20));
    }
}
