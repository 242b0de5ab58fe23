//! The changes that rules make to heads of requests and answers.

use hyper::Uri;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use model::resource::route::{HeaderModifier, HeaderSetting, UrlRewrite};

use crate::answer::Answer;

/// Changes of headers, parsed in advance.
#[derive(Debug, Default)]
pub(super) struct HeaderEdit {
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
    remove: Box<[HeaderName]>,
}

impl HeaderEdit {
    /// Parses what was declared. Names and values were validated when they were read, by rules at least as strict as these.
    pub(super) fn new(modifier: &HeaderModifier) -> Self {
        let settings = |all: &[HeaderSetting]| {
            let pair =
                |it: &HeaderSetting| Some((it.name.as_str().parse().ok()?, it.value.as_str().parse().ok()?));
            all.iter().filter_map(pair).collect()
        };
        Self {
            set: settings(&modifier.set),
            add: settings(&modifier.add),
            remove: modifier.remove.iter().filter_map(|name| name.as_str().parse().ok()).collect(),
        }
    }

    /// Changes the headers of an answer, whose raw head stays if there is nothing to change.
    pub(super) fn change<B>(&self, answer: &mut Answer<B>) {
        if !(self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()) {
            self.apply(answer.headers());
        }
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

/// Gives a prepared request another host and path; `false` if the result is not a valid target.
pub(super) fn rewrite(rewrite: &UrlRewrite, parts: &mut Parts, prefix_len: usize) -> bool {
    if let Some(Ok(host)) = rewrite.hostname.as_ref().map(|host| HeaderValue::from_str(host.as_str())) {
        parts.headers.insert(HOST, host);
    }
    let Some(path) = &rewrite.path else { return true };
    let mut target = route::replace_path(path, parts.uri.path(), prefix_len);
    if let Some(query) = parts.uri.query() {
        target.push('?');
        target += query;
    }
    match PathAndQuery::try_from(target) {
        Ok(target) => {
            parts.uri = Uri::from(target);
            true
        }
        Err(_) => false,
    }
}
