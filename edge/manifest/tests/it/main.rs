//! The public interface of the crate: files in, resources or located errors out, and back.

mod examples;
mod files;
mod limits;
mod messages;
mod reference;
mod round_trip;

use manifest::{Colour, Manifests};
use model::resource::check::Severity;

/// The diagnostics of `text`, as a terminal without colours shows them.
fn diagnostics_of(text: &str) -> String {
    shown(&checked(text))
}

fn checked(text: &str) -> Manifests {
    let mut manifests = manifest::parse("shop.yaml", text);
    manifests.check(&[], Severity::Error);
    manifests
}

fn shown(manifests: &Manifests) -> String {
    manifests.diagnostics.iter().map(|d| d.render(Colour::Never)).collect::<Vec<_>>().join("\n\n")
}

/// A service whose `spec` is `rest` after a command, indented by two.
fn service(rest: &str) -> String {
    let head = "apiVersion: homeostat/v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  run: {command: [./shop]}\n";
    format!("{head}{rest}")
}

/// An autoscaler of the form `version` whose `spec` is `rest` after its target, indented by two.
fn hpa(version: &str, rest: &str) -> String {
    let head = format!(
        "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: shop}}\n"
    );
    format!("{head}spec:\n  scaleTargetRef: {{kind: Deployment, name: shop}}\n{rest}")
}
