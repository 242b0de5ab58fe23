//! A metric from the output of a program.

use std::process::Stdio;

use model::measure::Labels;
use model::resource::CommandOrigin;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::exposition::{self, Form};
use crate::failure::{ANSWER_BYTES_MAX, Failure, short};

/// The most bytes of its standard error that are examined; the rest is discarded.
const STDERR_BYTES_MAX: u64 = 4096;

/// Runs the program to its end and parses its output: one number, or an exposition of metrics, from which `metric` is taken.
///
/// Dropping the future kills the program and everything in its process group.
pub(crate) async fn run(origin: &CommandOrigin, metric: &str) -> Result<Vec<(Labels, f64)>, Failure> {
    let (program, arguments) =
        origin.argv.split_first().map_or(("", &[][..]), |(it, rest)| (it.as_str(), rest));
    let not_run =
        |error: std::io::Error| Failure::NotRun { program: program.to_owned(), why: error.to_string() };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(folder) = &origin.working_directory {
        command.current_dir(folder);
    }
    let mut running = Running(command.spawn().map_err(not_run)?);
    let (stdout, stderr) = (running.0.stdout.take(), running.0.stderr.take());
    let (printed, error_line) = tokio::join!(printed(stdout), last_error_line(stderr));
    let printed = printed.map_err(not_run)?;
    if printed.len() > ANSWER_BYTES_MAX {
        return Err(Failure::TooLong { what: format!("{program:?}") });
    }
    let status = running.0.wait().await.map_err(not_run)?;
    if !status.success() {
        return Err(Failure::Ended { program: program.to_owned(), status: status.to_string(), error_line });
    }
    read(&printed, program, origin.series.as_deref().unwrap_or(metric))
}

fn read(printed: &[u8], program: &str, metric: &str) -> Result<Vec<(Labels, f64)>, Failure> {
    let what = || format!("{program:?}");
    let text = std::str::from_utf8(printed).map_err(|_| Failure::NoText { what: what() })?;
    if let Ok(number) = text.trim().parse() {
        return Ok(vec![(Labels::new(), number)]);
    }
    let samples =
        exposition::read(text, Form::Prometheus).map_err(|why| Failure::Exposition { what: what(), why })?;
    let matching = samples.into_iter().filter(|sample| sample.name == metric);
    Ok(matching.map(|sample| (sample.labels, sample.value)).collect())
}

/// Reads at most one byte more than allowed, so that the caller can tell that the output is too long.
async fn printed(output: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        output.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The last line within the first [`STDERR_BYTES_MAX`] of its standard error, after a colon; empty when there is none.
async fn last_error_line(output: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut output) = output else { return String::new() };
    let mut bytes = Vec::new();
    let read = (&mut output).take(STDERR_BYTES_MAX).read_to_end(&mut bytes).await;
    // The rest is read as well: a program whose pipe is full would block.
    let discarded = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    if read.and(discarded).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let last = short(last);
    if last.is_empty() { last } else { format!(": {last}") }
}

/// A running program that leads its own process group.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `None` once it was reaped, when its id may belong to another process.
        let group = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
