//! A folder, the files of balancers in it, and the notices about them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use external::{BalancerFiles, FileState, Notice, Server, ServerState, Upstream};
use model::name::ServiceName;
use model::resource::{Balance, External, ExternalFormat, HashKey, Span};
use tempfile::TempDir;

/// Far longer than any wait should last: the test fails instead of hanging.
const DEADLINE: Duration = Duration::from_secs(30);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct World {
    folder: TempDir,
    pub(crate) balancers: BalancerFiles,
    notices: Arc<Mutex<Vec<Notice>>>,
}

pub(crate) fn shop() -> ServiceName {
    ServiceName::parse("shop").unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&notices);
        let notify = Arc::new(move |notice| received.lock().unwrap().push(notice));
        let balancers = BalancerFiles::new(tokio::runtime::Handle::current(), notify);
        Self { folder: TempDir::new().unwrap(), balancers, notices }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn content(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A balancer whose check is the script `check` and whose reload appends a line to `reloads` and then is the script `reload`.
    pub(crate) fn external(&self, check: &str, reload: &str) -> External {
        let sh = |script: &str| ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        External {
            format: ExternalFormat::Nginx,
            file: self.path("shop.conf").to_str().unwrap().to_owned(),
            name: None,
            check: sh(check),
            reload: sh(&format!("echo >> reloads; {reload}")),
            timeout: Span::from_secs(20),
            every: Span::from_millis(100),
        }
    }

    pub(crate) fn reloads(&self) -> usize {
        self.content("reloads").lines().count()
    }

    /// Sets the replicas that serve, by their ports.
    pub(crate) fn set(&self, external: &External, ports: &[u16]) {
        self.balancers.set(&shop(), std::slice::from_ref(external), &upstream(ports), true);
    }

    pub(crate) fn state(&self) -> FileState {
        self.balancers.state(&shop()).pop().expect("one is kept").state
    }

    pub(crate) async fn settled(&self) {
        tokio::time::timeout(DEADLINE, self.balancers.applied(&shop()).wait())
            .await
            .expect("it is applied in time");
    }

    /// Waits for a notice with this text, and returns all notices so far.
    pub(crate) async fn notice(&self, text: &str) -> Vec<Notice> {
        wait_until(text, || {
            let notices = self.notices.lock().unwrap().clone();
            notices.iter().any(|notice| notice.message.contains(text)).then_some(notices)
        })
        .await
    }
}

pub(crate) fn upstream(ports: &[u16]) -> Upstream {
    let server = |(ordinal, port): (usize, &u16)| Server {
        ordinal: Some(u32::try_from(ordinal).unwrap()),
        address: ([127, 0, 0, 1], *port).into(),
        http2: false,
        state: ServerState::Serving { weight: 1 },
    };
    let servers = ports.iter().enumerate().map(server).collect();
    let service = "shop".to_owned();
    Upstream { name: service.clone(), service, balance: Balance::RoundRobin, hash: HashKey::Address, servers }
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) async fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = os::since_boot();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(os::since_boot() - begun < DEADLINE, "not in time: {what}");
        // tidy: pause between looks
        tokio::time::sleep(PAUSE).await;
    }
}
