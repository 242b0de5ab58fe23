//! A real Prometheus for one test.

use std::process::{Child, Command, Stdio};

use crate::instance::{Instance, get, text, wait_until};

/// A Prometheus with its data in the folder of the instance.
pub(crate) struct Prometheus {
    process: Child,
    port: u16,
}

impl Prometheus {
    /// One that reads the page on a port twice a second.
    pub(crate) fn reading(instance: &Instance, of: u16) -> Self {
        Self::start(
            instance,
            &format!(
                "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:\n  - job_name: queue\n    \
                 static_configs: [{{targets: [\"127.0.0.1:{of}\"]}}]\n"
            ),
        )
    }

    /// A server without scrape targets and with this `history`, in OpenMetrics with timestamps.
    pub(crate) fn knowing(instance: &Instance, history: &str) -> Self {
        let (samples, data) = (instance.write("history.om", history), instance.path("tsdb"));
        let mut promtool = Command::new("promtool");
        promtool.args(["tsdb", "create-blocks-from", "openmetrics", text(&samples), text(&data)]);
        let made = promtool.stdin(Stdio::null()).output().expect("promtool comes with prometheus");
        assert!(made.status.success(), "{made:?}");
        Self::start(instance, "global: {}\n")
    }

    fn start(instance: &Instance, config: &str) -> Self {
        let port = ports::free();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", text(&instance.write("prometheus.yml", config))));
        command.arg(format!("--storage.tsdb.path={}", text(&instance.path("tsdb"))));
        command.arg("--storage.tsdb.retention.time=100y");
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("prometheus is installed; `cargo xtask test` sees to it");
        let it = Self { process, port };
        wait_until("prometheus is ready", || get(&format!("{}/-/ready", it.url())).ok());
        it
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
