//! The text of a balancer's file, which depends on the replicas and on nothing else.

mod haproxy;
mod nginx;
#[cfg(test)]
mod tests;

use model::resource::ExternalFormat;

use crate::upstream::Upstream;

/// The text of a file. The same replicas give the same text, so it is seen when nothing has changed.
pub fn render(format: ExternalFormat, upstream: &Upstream) -> String {
    match format {
        ExternalFormat::Nginx => nginx::render(upstream),
        ExternalFormat::Haproxy => haproxy::render(upstream),
    }
}

/// A word for a file: letters, digits and `._-` stay, everything else becomes `_`.
///
/// Names are checked when they are declared, and this changes none of them. It makes sure that, whatever becomes of that check, no name
/// can end a word, a line or a block of somebody's configuration.
fn word(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    text.chars().map(safe).collect()
}

/// What each file begins with, by which it is known as ours.
pub(crate) const KEPT: &str = "# Kept by homeostat ";

fn head(upstream: &Upstream) -> String {
    let service = word(&upstream.service);
    format!("{KEPT}for service/{service}: what is changed here by hand is overwritten.\n")
}
