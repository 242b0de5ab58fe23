//! Makes the paths in resources absolute.

use std::path::{Path, PathBuf};

use model::resource::{
    AccessLog, ClientTls, HttpOrigin, MetricOrigin, PostgresOrigin, PrometheusOrigin, RedisOrigin, Resource,
    Route, Secret, ServiceSpec, Tls,
};

/// Makes each path in `resource` relative to `folder` absolute; `false` when a result is not UTF-8.
pub(crate) fn resolve(resource: &mut Resource, folder: &Path) -> bool {
    paths_of(resource).into_iter().all(|path| {
        // Leaves out each `.` and keeps each `..`, which may lead through a link.
        let resolved: PathBuf = folder.join(&*path).components().collect();
        resolved.into_os_string().into_string().map(|text| *path = text).is_ok()
    })
}

/// The paths in a resource; the default working directory is the empty path.
fn paths_of(resource: &mut Resource) -> Vec<&mut String> {
    match resource {
        Resource::Service(service) => {
            let ServiceSpec { run, expose, .. } = &mut service.spec;
            let files = expose.iter_mut().flat_map(|expose| {
                let externals = expose.external.iter_mut().map(|external| &mut external.file);
                certificates(&mut expose.tls).chain(externals).chain(log_file(&mut expose.access_log))
            });
            std::iter::once(run.working_directory.get_or_insert_default()).chain(files).collect()
        }
        Resource::MetricSource(source) => match &mut source.spec.from {
            MetricOrigin::Prometheus(PrometheusOrigin { bearer_token_file, tls, .. })
            | MetricOrigin::Http(HttpOrigin { bearer_token_file, tls, .. }) => {
                let files = tls.iter_mut().flat_map(ClientTls::files_mut);
                bearer_token_file.iter_mut().chain(files).collect()
            }
            MetricOrigin::Redis(RedisOrigin { password, tls, .. })
            | MetricOrigin::Postgres(PostgresOrigin { password, tls, .. }) => {
                let files = tls.iter_mut().flat_map(ClientTls::files_mut);
                password.iter_mut().filter_map(Secret::file_mut).chain(files).collect()
            }
            MetricOrigin::Command(command) => vec![command.working_directory.get_or_insert_default()],
            MetricOrigin::Replicas(_) => Vec::new(),
        },
        Resource::Route(Route { spec, .. }) => {
            certificates(&mut spec.tls).chain(log_file(&mut spec.access_log)).collect()
        }
        Resource::HorizontalPodAutoscaler(_) => Vec::new(),
    }
}

/// The paths of certificates and keys, and of the files of ACME authorities' own certificates.
fn certificates(tls: &mut Option<Tls>) -> impl Iterator<Item = &mut String> {
    tls.iter_mut().flat_map(Tls::files_mut)
}

/// The path of a log, if it is written to a file.
fn log_file(log: &mut Option<AccessLog>) -> impl Iterator<Item = &mut String> {
    log.iter_mut().filter(|log| !log.is_standard_output()).map(|log| &mut log.file)
}
