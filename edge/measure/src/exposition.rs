//! Metrics as text: the exposition format of Prometheus, and OpenMetrics, which grew from it.
//!
//! It is parsed here because the available crates either have a licence that would bind our users, or skip lines that they cannot
//! parse, so that an HTML page would count as one without metrics (docs/decisions/0018).
//!
//! Sources: Prometheus, "Exposition formats", text format 0.0.4, with names in quotes as of 1.0.0; OpenMetrics 1.0.0, "Text Format".
//! Timestamps and exemplars are checked and dropped: a source reports the present.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::measure::Labels;

/// The most labels of one sample: servers that scrape the same pages allow 30 by default.
const LABELS_MAX: usize = 64;

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The format of Prometheus; also assumed for a page that does not name its format.
    Prometheus,
    /// OpenMetrics, which ends with a mark: a page without it was truncated.
    OpenMetrics,
}

/// One sample of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name of its metric, with suffixes such as `_total`.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its value; may be infinite or `NaN`.
    pub value: f64,
    /// Whether it only grows until it is reset: a counter, or a part of a histogram or summary.
    pub is_cumulative: bool,
}

/// A text that is not in the given format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Malformed {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// The type of a metric family, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Monotonic; so is the sample with its name and `_total`.
    Counter,
    /// The samples with its name and `_bucket`, `_count` or `_sum` are monotonic.
    Distribution,
    /// It may grow and shrink.
    Other,
}

/// All samples of a text, in order. Fails when a single line is malformed: the text is then in another format.
pub fn read(text: &str, form: Form) -> Result<Vec<Sample>, Malformed> {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    let mut samples = Vec::new();
    let mut has_ended = false;
    for (index, line) in text.lines().enumerate() {
        let malformed = |why| Malformed { line: index + 1, why };
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() {
            continue;
        }
        if has_ended {
            return Err(malformed("text after # EOF"));
        }
        match line.strip_prefix('#') {
            Some(comment) if form == Form::OpenMetrics && comment.trim() == "EOF" => has_ended = true,
            Some(comment) => kinds.extend(kind_of(comment).map_err(malformed)?),
            None => samples.push(sample(line).map_err(malformed)?),
        }
    }
    if form == Form::OpenMetrics && !has_ended {
        let line = text.lines().count().max(1);
        return Err(Malformed { line, why: "the text is truncated: OpenMetrics ends with # EOF" });
    }
    for sample in &mut samples {
        sample.is_cumulative = is_cumulative(&sample.name, &kinds);
    }
    Ok(samples)
}

/// The family and its kind, in a comment that declares one.
fn kind_of(comment: &str) -> Result<Option<(String, Kind)>, &'static str> {
    let mut rest = Rest(comment.trim_start_matches([' ', '\t']));
    if !rest.takes_keyword("TYPE") {
        return Ok(None);
    }
    let name = if rest.0.starts_with('"') { rest.quoted()? } else { rest.name(true)?.to_owned() };
    let kind = match rest.0.trim_matches([' ', '\t']) {
        "counter" => Kind::Counter,
        "histogram" | "summary" => Kind::Distribution,
        "gauge" | "untyped" | "unknown" | "gaugehistogram" | "info" | "stateset" => Kind::Other,
        _ => return Err("unknown metric type"),
    };
    Ok(Some((name, kind)))
}

fn is_cumulative(name: &str, kinds: &BTreeMap<String, Kind>) -> bool {
    let has = |family: Option<&str>, kind| family.is_some_and(|family| kinds.get(family) == Some(&kind));
    let distribution = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
    has(Some(name), Kind::Counter)
        || has(name.strip_suffix("_total"), Kind::Counter)
        || has(distribution, Kind::Distribution)
}

fn sample(line: &str) -> Result<Sample, &'static str> {
    let mut rest = Rest(line);
    let mut name = None;
    if !rest.0.starts_with('{') {
        name = Some(rest.name(true)?.to_owned());
        rest.space();
    }
    let mut labels = Labels::new();
    if rest.takes('{') {
        let quoted = rest.labels(&mut labels, name.is_none())?;
        name = name.or(quoted);
    }
    let name = name.ok_or("sample without a name")?;
    let value = rest.number()?;
    rest.space();
    if !rest.0.is_empty() && !rest.0.starts_with('#') {
        rest.number()?;
        rest.space();
    }
    if rest.takes('#') {
        exemplar(&mut rest)?;
    }
    if !rest.0.is_empty() {
        return Err("text after the sample");
    }
    Ok(Sample { name, labels, value, is_cumulative: false })
}

/// An exemplar: one observation behind the sample, with its own labels, value and time.
fn exemplar(rest: &mut Rest<'_>) -> Result<(), &'static str> {
    rest.space();
    if !rest.takes('{') {
        return Err("text after # is not an exemplar");
    }
    rest.labels(&mut Labels::new(), false)?;
    rest.number()?;
    rest.space();
    if !rest.0.is_empty() {
        rest.number()?;
    }
    Ok(())
}

/// The rest of a line.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn takes(&mut self, mark: char) -> bool {
        let after = self.0.strip_prefix(mark);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    fn takes_keyword(&mut self, keyword: &str) -> bool {
        let after = self.0.strip_prefix(keyword).filter(|after| after.starts_with([' ', '\t']));
        self.0 = after.unwrap_or(self.0);
        self.space();
        after.is_some()
    }

    /// A name without quotes; those of metrics may hold colons.
    fn name(&mut self, is_metric: bool) -> Result<&'t str, &'static str> {
        let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || (is_metric && c == ':');
        let end = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(if is_metric { "invalid metric name" } else { "invalid label name" });
        }
        self.0 = rest;
        Ok(name)
    }

    /// A quoted string. `\"`, `\\` and `\n` are escapes; a backslash before another character is kept.
    fn quoted(&mut self) -> Result<String, &'static str> {
        if !self.takes('"') {
            return Err("label value without quotes");
        }
        let mut text = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    Some((_, other)) => text.extend(['\\', other]),
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err("unterminated quoted string")
    }

    /// Labels up to the closing brace. Returns the name of the metric if it is quoted among them, which `may_name` allows.
    fn labels(&mut self, labels: &mut Labels, may_name: bool) -> Result<Option<String>, &'static str> {
        let mut metric = None;
        loop {
            self.space();
            if self.takes('}') {
                return Ok(metric);
            }
            let is_quoted = self.0.starts_with('"');
            let name = if is_quoted { self.quoted()? } else { self.name(false)?.to_owned() };
            self.space();
            if self.takes('=') {
                self.space();
                let value: Arc<str> = self.quoted()?.into();
                if labels.len() == LABELS_MAX {
                    return Err("too many labels");
                }
                if labels.insert(name.into(), value).is_some() {
                    return Err("duplicate label");
                }
            } else if is_quoted && may_name && metric.is_none() && labels.is_empty() {
                metric = Some(name);
            } else {
                return Err("label without a value");
            }
            self.space();
            if !self.takes(',') && !self.0.starts_with('}') {
                return Err("missing comma between labels");
            }
        }
    }

    fn number(&mut self) -> Result<f64, &'static str> {
        self.space();
        let end = self.0.find([' ', '\t']).unwrap_or(self.0.len());
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        number.parse().map_err(|_| "expected a number")
    }
}

#[cfg(test)]
mod tests;
