//! The text of a balancer's file: a function of the replicas and of nothing else.

mod haproxy;
mod nginx;
#[cfg(test)]
mod tests;

use model::resource::ExternalFormat;

use crate::upstream::Upstream;

/// The whole of a file. The same replicas give the same text, so that what has not changed is seen as such.
pub fn render(format: ExternalFormat, upstream: &Upstream) -> String {
    match format {
        ExternalFormat::Nginx => nginx::render(upstream),
        ExternalFormat::Haproxy => haproxy::render(upstream),
    }
}

/// What goes into a file as a word of its own: letters, digits and `._-`, everything else is `_`.
///
/// Names are checked when they are declared, and this changes none of them. It is here so that whatever becomes of that check, no name can end
/// a line, a word or a block of somebody's configuration.
fn word(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    text.chars().map(safe).collect()
}

/// What each file begins with, and tells it from one of somebody else.
pub(crate) const KEPT: &str = "# Kept by homeostat ";

fn head(upstream: &Upstream) -> String {
    let service = word(&upstream.service);
    format!("{KEPT}for service/{service}: what is changed here by hand is overwritten.\n")
}
