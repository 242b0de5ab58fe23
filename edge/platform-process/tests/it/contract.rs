//! The contract of every platform, with and without control groups.

use std::path::Path;
use std::sync::{Arc, Mutex};

use conformance::platform::{PlatformHome, suite};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use platform::Platform;
use platform_process::{CgroupUse, ProcessPlatform, Settings};

struct Home {
    folder: tempfile::TempDir,
    cgroups: CgroupUse,
    open: Mutex<Option<Arc<ProcessPlatform>>>,
}

impl PlatformHome for Home {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Platform>> {
        let mut settings = Settings::new(self.folder.path().join("data"), self.folder.path());
        settings.cgroups = self.cgroups;
        let platform = Arc::new(ProcessPlatform::open(settings).unwrap());
        *self.open.lock().unwrap() = Some(platform.clone());
        async move { platform as Arc<dyn Platform> }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let platform = self.open.lock().unwrap().take().expect("it is open");
        let platform = Arc::into_inner(platform).expect("nobody else holds it");
        platform.close().boxed()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn home(cgroups: CgroupUse) -> Box<dyn PlatformHome> {
    Box::new(Home { folder: tempfile::tempdir().unwrap(), cgroups, open: Mutex::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_in_control_groups_keep_the_contract() {
    suite(&|| home(CgroupUse::WherePermitted)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_without_control_groups_keep_the_contract() {
    suite(&|| home(CgroupUse::Never)).await;
}
