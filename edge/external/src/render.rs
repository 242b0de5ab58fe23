//! Renders the text of a balancer's file, a pure function of the replicas.

mod haproxy;
mod nginx;
#[cfg(test)]
mod tests;

use model::resource::ExternalFormat;

use crate::upstream::Upstream;

/// The text of a file. The same replicas give the same text, so comparing texts shows whether anything has changed.
pub fn render(format: ExternalFormat, upstream: &Upstream) -> String {
    match format {
        ExternalFormat::Nginx => nginx::render(upstream),
        ExternalFormat::Haproxy => haproxy::render(upstream),
    }
}

/// A name for a configuration file: letters, digits and `._-` stay, everything else becomes `_`.
///
/// Names are validated when they are declared, and valid ones stay unchanged. This is a second line of defense: no name can end a word, a
/// line or a block of the configuration.
fn sanitized(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    text.chars().map(safe).collect()
}

/// The beginning of each file, by which a file that homeostat has written is recognized.
pub(crate) const HEADER_PREFIX: &str = "# Kept by homeostat ";

fn head(upstream: &Upstream) -> String {
    let service = sanitized(&upstream.service);
    format!("{HEADER_PREFIX}for service/{service}: what is changed here by hand is overwritten.\n")
}
