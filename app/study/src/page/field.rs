//! A scatter plot of policies: cost to the right, violations upwards, both on a logarithmic scale.
//!
//! Positions are relative to the width, and in pixels of the height, so that text keeps its size on every screen.

use maud::{Markup, html};

use super::percent;
use crate::setting::Measure;
use crate::summary::PolicySummary;

/// The height in pixels.
const HEIGHT: f64 = 300.0;
/// The per cent of violations below which none are drawn.
const LEAST: f64 = 0.003;
/// The horizontal grid lines, in per cent of violations.
const VIOLATIONS: [f64; 5] = [0.01, 0.1, 1.0, 10.0, 100.0];
/// The vertical grid lines, as multiples of the oracle's cost.
const COSTS: [f64; 10] = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
/// The minimum distance of labels, in pixels.
const LABEL: f64 = 15.0;
/// The width of a label, in per cent of the plot.
const LABEL_WIDTH: f64 = 32.0;

/// Maps values to positions.
struct Scale {
    cost: (f64, f64),
    violated: f64,
}

pub(super) fn draw(policies: &[PolicySummary], best: Option<&str>, measure: Measure) -> Markup {
    let placed: Vec<(&PolicySummary, f64)> =
        policies.iter().filter_map(|policy| Some((policy, policy.replica_hours_to_oracle?))).collect();
    let scale = Scale::of(&placed);
    let limit = scale.y(100.0 * (1.0 - measure.objective));
    let labels = labels(&placed, &scale);
    html! {
        div.field {
            svg.points width="100%" height=(HEIGHT) role="img" aria-label="violated requests over cost" {
                rect.kept x="0" y=(limit) width="100%" height=(HEIGHT - limit) {}
                @for violated in VIOLATIONS.into_iter().filter(|violated| *violated <= scale.violated) {
                    @let y = format!("{:.1}", scale.y(violated));
                    line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                    text.tick x="4" y=(y) dy="-3" { (violated) " %" }
                }
                @for cost in COSTS.into_iter().filter(|cost| scale.shows(*cost)) {
                    @let x = format!("{:.2}%", scale.x(cost));
                    line.grid x1=(x) x2=(x) y1="0" y2=(HEIGHT) {}
                    text.tick x=(x) y=(HEIGHT) dx="3" dy="-4" { (cost) "×" }
                }
                text.zone x="100%" y=(limit) dx="-6" dy="14" text-anchor="end" { "SLO met" }
                @for ((policy, times), label) in placed.iter().zip(&labels) {
                    @let (x, y) = (format!("{:.2}%", scale.x(*times)), format!("{:.1}", scale.y(policy.violated_requests_percent)));
                    @if (label.y - scale.y(policy.violated_requests_percent)).abs() > 1.0 {
                        line.leader x1=(x) x2=(x) y1=(y) y2=(format!("{:.1}", label.y)) {}
                    }
                    g.best[best == Some(policy.name.as_str())].known[!policy.could_run] {
                        circle cx=(x) cy=(y) r="5" {
                            title { (policy.name) ": " (percent(policy.violated_requests_percent)) " % violated, " (format!("{times:.2}")) " × oracle" }
                        }
                        text x=(x) y=(format!("{:.1}", label.y)) dx=(if label.is_left { "-9" } else { "9" }) dy="4"
                            text-anchor=(if label.is_left { "end" } else { "start" }) { (policy.name) }
                    }
                }
            }
            p.axis { span { "↑ violated requests" } span { "replica-hours, as a multiple of the oracle's →" } }
        }
    }
}

impl Scale {
    fn of(placed: &[(&PolicySummary, f64)]) -> Self {
        let costs = || placed.iter().map(|(_, times)| *times);
        let violated = placed.iter().map(|(policy, _)| policy.violated_requests_percent).fold(1.0, f64::max);
        let (least, most) = (costs().fold(1.0, f64::min), costs().fold(1.25, f64::max));
        Self { cost: (least.max(0.01) / 1.1, most * 1.15), violated: (violated * 2.0).min(110.0) }
    }

    /// Per cent of the width.
    fn x(&self, cost: f64) -> f64 {
        let (least, most) = self.cost;
        100.0 * (cost.max(least) / least).ln() / (most / least).ln()
    }

    /// Pixels from the top.
    fn y(&self, violated: f64) -> f64 {
        let part = (violated.max(LEAST) / LEAST).ln() / (self.violated / LEAST).ln();
        // The points have room below them.
        (HEIGHT - 24.0) * (1.0 - part.clamp(0.0, 1.0)) + 8.0
    }

    fn shows(&self, cost: f64) -> bool {
        self.cost.0 < cost && cost < self.cost.1
    }
}

/// Where the name of a point is written.
struct Label {
    x: f64,
    y: f64,
    is_left: bool,
}

/// Beside its point, and where that is taken a line higher or lower.
fn labels(placed: &[(&PolicySummary, f64)], scale: &Scale) -> Vec<Label> {
    let mut labels: Vec<Label> = Vec::new();
    for (policy, times) in placed {
        let x = scale.x(*times);
        let at = scale.y(policy.violated_requests_percent);
        let is_left = x > 100.0 - LABEL_WIDTH;
        let covers = |other_x: f64| {
            if is_left {
                (x - LABEL_WIDTH..x).contains(&other_x)
            } else {
                (x..x + LABEL_WIDTH).contains(&other_x)
            }
        };
        let is_point = |other: &(&PolicySummary, f64), y: f64| {
            let (other_x, other_y) = (scale.x(other.1), scale.y(other.0.violated_requests_percent));
            other.0.name != policy.name && covers(other_x) && (other_y - y).abs() < LABEL - 4.0
        };
        let is_free = |y: &f64, labels: &[Label]| {
            let is_near = |label: &Label| (label.y - y).abs() < LABEL && (label.x - x).abs() < LABEL_WIDTH;
            let is_inside = (8.0..HEIGHT - 4.0).contains(y);
            is_inside && !labels.iter().any(is_near) && !placed.iter().any(|other| is_point(other, *y))
        };
        let offsets = (0..12).map(|n| f64::from((n + 1) / 2) * if n % 2 == 0 { LABEL } else { -LABEL });
        let y = offsets.map(|offset| at + offset).find(|y| is_free(y, &labels)).unwrap_or(at);
        labels.push(Label { x, y, is_left });
    }
    labels
}
