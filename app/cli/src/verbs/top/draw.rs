//! Draws a frame of `top`.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Row, StatefulWidget, Table, TableState, Widget};

use super::{Page, Rows, View};
use crate::output::Field;
use crate::paint::{Tone, printable};

/// The lines of a table in addition to its rows: two for the border, one for the header.
const FRAME_LINES: u16 = 3;

/// The blanks between columns.
const SPACING: u16 = 2;

/// A text that is cut keeps at least this many characters.
const TEXT_MIN: usize = 12;

/// The columns that may be left out on a narrow terminal, the least important first. The name always stays.
const LEAST_IMPORTANT_FIRST: &[&str] = &[
    "PORTS",
    "AGE",
    "PID",
    "3XX/S",
    "IN/S",
    "OUT/S",
    "ABANDONED/S",
    "2XX/S",
    "EJECTIONS",
    "4XX/S",
    "P99",
    "CPU",
    "ERR/S",
    "MEMORY",
    "DESIRED",
    "RETRIES/S",
    "IN FLIGHT",
    "REQ/S",
    "RESTARTS",
    "READY",
    "FAILED/S",
    "5XX/S",
    "MESSAGE",
    "PHASE",
    "STATE",
    "STATUS",
];

/// Draws the view into `area`: services above, the replicas of the chosen one below.
pub(super) fn draw(view: &View, is_coloured: bool, area: Rect, buffer: &mut Buffer) {
    let services =
        u16::try_from(view.snapshot.services.len()).unwrap_or(u16::MAX).saturating_add(FRAME_LINES);
    let upper = services.min(area.height / 2).max(FRAME_LINES + 1);
    let parts = [
        Constraint::Length(1),
        Constraint::Length(upper),
        Constraint::Min(FRAME_LINES),
        Constraint::Length(1),
    ];
    let [head, upper, lower, foot] = Layout::vertical(parts).areas(area);
    let title = format!("homeostat at {}  {}", view.snapshot.server, view.snapshot.at);
    Line::styled(title, Style::new().add_modifier(Modifier::BOLD)).render(head, buffer);

    let title = format!(" {} services ", view.snapshot.services.len());
    let mut state = TableState::new().with_selected(view.chosen);
    let services = table(&title, &view.upper(), is_coloured, upper.width);
    StatefulWidget::render(services, upper, buffer, &mut state);

    let of_service =
        view.chosen_service().map(|service| format!(" of {}", service.name())).unwrap_or_default();
    let rows = view.lower();
    let title = match view.page {
        Page::State => format!(" {} replicas{of_service} ", rows.rows.len()),
        Page::Traffic => format!(" versions and replicas{of_service} "),
    };
    Widget::render(table(&title, &rows, is_coloured, lower.width), lower, buffer);

    let (text, tone) = match &view.problem {
        Some(problem) => (printable(problem), Tone::Bad),
        None => {
            let other = match view.page {
                Page::State => "traffic",
                Page::Traffic => "state",
            };
            let keys = "q: quit, arrows: choose a service, Esc: replicas of all services, t";
            (format!("{keys}: {other}"), Tone::Quiet)
        }
    };
    Line::styled(text, style(Some(tone), is_coloured)).render(foot, buffer);
}

/// A table in `width` columns: what does not fit is left out, see [`fitting`].
fn table(title: &str, rows: &Rows, is_coloured: bool, width: u16) -> Table<'static> {
    let Rows { header, rows } = rows;
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells =
                rows.iter().filter_map(|row| row.get(column)).map(|field| field.parts().0.chars().count());
            cells.chain([header[column].len()]).max().unwrap_or(0)
        })
        .collect();
    // Two columns are the border.
    let columns = fitting(header, &widths, usize::from(width.saturating_sub(2)));
    let row = |fields: &Vec<Field>| {
        Row::new(
            columns.iter().map(|(at, width)| cell(&fields[*at], *width, is_coloured)).collect::<Vec<_>>(),
        )
    };
    let lengths =
        columns.iter().map(|(_, width)| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
    let lengths: Vec<_> = lengths.collect();
    let names: Vec<_> = columns.iter().map(|(at, _)| header[*at]).collect();
    Table::new(rows.iter().map(row).collect::<Vec<_>>(), lengths)
        .header(Row::new(names).style(Style::new().add_modifier(Modifier::BOLD)))
        .column_spacing(SPACING)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(printable(title)))
}

/// The columns that fit into `available`, in the order of the header, with their widths.
///
/// The first column, the name, always stays. The others are shown whole or not at all, the least important left out first, except the last one,
/// a text: it gets what is left, and is cut to it.
fn fitting(header: &[&str], widths: &[usize], available: usize) -> Vec<(usize, usize)> {
    let spacing = usize::from(SPACING);
    let last = header.len() - 1;
    let text_min = widths[last].min(TEXT_MIN);
    let mut columns: Vec<usize> = (0..header.len()).collect();
    let width_of = |columns: &[usize]| {
        let one = |at: &usize| if *at == last { text_min } else { widths[*at] } + spacing;
        columns.iter().map(one).sum::<usize>() - spacing
    };
    for name in LEAST_IMPORTANT_FIRST {
        if width_of(&columns) <= available {
            break;
        }
        columns.retain(|at| *at == 0 || header[*at] != *name);
    }
    let left = available.saturating_sub(width_of(&columns)) + text_min;
    columns.into_iter().map(|at| (at, if at == last { widths[at].min(left) } else { widths[at] })).collect()
}

fn cell(field: &Field, width: usize, is_coloured: bool) -> Cell<'static> {
    let (text, tone) = field.parts();
    let text = shortened(text, width);
    let alignment = if field.is_number() { Alignment::Right } else { Alignment::Left };
    Cell::from(Text::from(text).alignment(alignment)).style(style(tone, is_coloured))
}

/// The text, cut to `width` characters with an ellipsis at its end.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn style(tone: Option<Tone>, is_coloured: bool) -> Style {
    let colour = match tone.filter(|_| is_coloured) {
        None => return Style::new(),
        Some(Tone::Good) => Color::Green,
        Some(Tone::Notable) => Color::Yellow,
        Some(Tone::Bad) => Color::Red,
        Some(Tone::Quiet) => Color::DarkGray,
    };
    Style::new().fg(colour)
}

#[cfg(test)]
mod tests {
    use api::v1;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Map, Value, json};

    use tokio::time::Instant;

    use super::super::{KeyAction, Snapshot};
    use super::*;
    use crate::tables;

    fn object<S>(kind: &str, name: &str, status: S) -> v1::Object<S> {
        let metadata = Map::from_iter([("name".to_owned(), Value::from(name))]);
        v1::Object {
            api_version: "homeostat/v1".into(),
            kind: kind.into(),
            metadata,
            spec: Map::new(),
            status,
        }
    }

    fn service(name: &str) -> v1::Service {
        let status = json!({
            "desiredReplicas": 1, "replicas": 1, "readyReplicas": 1, "spareReplicas": 0, "revision": 1, "generation": 1,
            "traffic": {"requestsPerSecond": 12.0, "inFlight": 1, "latencyP99Seconds": 0.005},
            "usage": {"cpuMillicores": 120, "memoryBytes": 1048576}, "conditions": [],
        });
        object("Service", name, serde_json::from_value(status).unwrap())
    }

    fn replica(service: &str) -> v1::Replica {
        let status = json!({
            "service": service, "node": "a", "pid": 7, "ports": {}, "phase": "Running", "ready": true, "restarts": 0,
            "startedAt": null, "role": "active", "incarnation": 1, "generation": 1, "adopted": false, "message": null,
            "traffic": {"requestsPerSecond": null, "inFlight": 0, "latencyP99Seconds": null},
            "usage": {"cpuMillicores": null, "memoryBytes": null},
        });
        object("Replica", &format!("{service}-0"), serde_json::from_value(status).unwrap())
    }

    fn view() -> View {
        let snapshot = Snapshot {
            server: "http://127.0.0.1:7460".into(),
            at: "2026-11-21T06:00:00Z".into(),
            taken: Instant::now(),
            services: vec![service("cart"), service("shop")],
            replicas: vec![replica("cart"), replica("shop")],
        };
        View::new(snapshot, Page::State)
    }

    fn shown(view: &View) -> String {
        shown_in(view, 120)
    }

    fn shown_in(view: &View, width: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, 20)).unwrap();
        terminal.draw(|frame| draw(view, false, frame.area(), frame.buffer_mut())).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>() + "\n";
        (0..20).map(line).collect()
    }

    /// A view with a replica whose message is longer than any terminal is wide.
    fn view_with_a_long_message() -> View {
        let mut view = view();
        let replica = &mut view.snapshot.replicas[0];
        replica.status.pid = Some(7_466);
        replica.status.phase = "Backoff".into();
        replica.status.message = Some("it exited at least 5 times in a row ".repeat(10));
        replica.status.usage.memory_bytes = Some(208 << 10);
        view
    }

    #[test]
    fn a_frame_shows_services_and_the_replicas_of_all() {
        let text = shown(&view());
        for part in [
            "http://127.0.0.1:7460",
            "2 services",
            "cart",
            "shop",
            "5.0ms",
            "120m",
            "cart-0",
            "shop-0",
            "q: quit",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_chosen_service_shows_only_its_own_replicas() {
        let mut view = view();
        view.apply(KeyAction::Down);
        view.apply(KeyAction::Down);
        view.apply(KeyAction::Down);
        let text = shown(&view);
        assert!(text.contains("replicas of shop") && !text.contains("cart-0"), "{text}");
        view.apply(KeyAction::All);
        assert!(shown(&view).contains("cart-0"));
    }

    #[test]
    fn a_chosen_service_stays_chosen_when_others_are_added() {
        let mut view = view();
        view.apply(KeyAction::Down);
        let mut next = view.snapshot.clone();
        next.services.insert(0, service("auth"));
        view.show(next);
        assert_eq!(view.chosen_service().map(v1::Object::name), Some("cart"));
    }

    #[test]
    fn a_failed_refresh_is_reported_and_the_previous_snapshot_stays() {
        let mut view = view();
        view.problem = Some("could not reach it".into());
        let text = shown(&view);
        assert!(text.contains("could not reach it") && text.contains("shop"), "{text}");
    }

    /// A service in the proxy with one version and one replica, after `requests` requests of 2 KiB, of which a tenth were sent again.
    fn exposed(requests: u64) -> (v1::Service, v1::Replica) {
        let counts = json!({
            "requests": requests, "responses": {"2xx": requests}, "retries": requests / 10, "requestBytes": 0,
            "responseBytes": requests * 2048, "ejections": 3,
        });
        let with = |more: serde_json::Value| {
            let mut all = counts.as_object().unwrap().clone();
            all.extend(more.as_object().unwrap().clone());
            Value::from(all)
        };
        let refused = json!({"noReplica": 0, "overLimit": 0});
        let (mut service, mut replica) = (service("shop"), replica("shop"));
        service.status.proxy =
            Some(serde_json::from_value(with(json!({"refused": refused, "waiting": 0}))).unwrap());
        let version = with(json!({"generation": 1, "servingReplicas": 1, "inFlight": 4}));
        service.status.versions = vec![serde_json::from_value(version).unwrap()];
        let endpoint = with(json!({"state": "Ejected", "message": "requests to it kept failing"}));
        replica.status.endpoint = Some(serde_json::from_value(endpoint).unwrap());
        (service, replica)
    }

    #[test]
    fn the_page_of_traffic_shows_rates_between_two_refreshes() {
        let mut view = view();
        let mut next = view.snapshot.clone();
        let (earlier, replica) = exposed(100);
        (view.snapshot.services, view.snapshot.replicas) = (vec![service("cart"), earlier], vec![replica]);
        view.apply(KeyAction::OtherPage);
        let first = shown_in(&view, 200);
        assert!(first.contains("shop generation 1") && !first.contains("300"), "{first}");

        let (now, replica) = exposed(700);
        (next.services, next.replicas) = (vec![service("cart"), now], vec![replica]);
        next.taken = view.snapshot.taken + std::time::Duration::from_secs(2);
        view.show(next);
        let text = shown_in(&view, 200);
        let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
        for name in ["shop ", "shop generation 1", "shop-0"] {
            let line = line(name);
            let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            for cell in ["300", "30", "3", "600Ki"] {
                assert!(cells.contains(&cell), "{cell} is missing for {name} in\n{text}");
            }
        }
        assert!(line("shop-0").contains("Ejected: requests to it kept failing"), "{text}");
        assert!(line("shop generation 1").contains("1 replica serving"), "{text}");
        assert!(line("cart").contains('-') && text.contains("t: state"), "{text}");
    }

    #[test]
    fn the_smallest_terminal_does_not_panic() {
        for (width, height) in [(1, 1), (10, 2), (200, 5)] {
            let area = Rect::new(0, 0, width, height);
            draw(&view(), true, area, &mut Buffer::empty(area));
        }
    }

    #[test]
    fn a_long_message_gets_what_the_other_columns_leave() {
        let text = shown_in(&view_with_a_long_message(), 200);
        let header = tables::REPLICA_HEADER;
        let parts = ["cart-0", "7466", "Backoff", "208Ki", "it exited at least 5 times in a row it", "…│"];
        for part in header.iter().chain(&parts) {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn on_a_narrow_terminal_whole_columns_are_left_out_and_no_name_or_number_is_cut() {
        for (width, kept, left_out) in [
            (80, &["RESTARTS", "REQ/S", "208Ki"][..], &["PORTS", " AGE", "PID"][..]),
            (60, &["RESTARTS", "it exited at lea…"], &["PORTS", "7466", "208Ki"]),
        ] {
            let text = shown_in(&view_with_a_long_message(), width);
            let replicas = text.split("replicas").nth(1).unwrap();
            for part in kept.iter().chain(&["cart-0 ", "shop-0 ", "Backoff", "it exited", "…│"]) {
                assert!(replicas.contains(part), "{part} is missing at {width} in\n{text}");
            }
            for part in left_out {
                assert!(!replicas.contains(part), "{part} is shown at {width} in\n{text}");
            }
        }
    }
}
