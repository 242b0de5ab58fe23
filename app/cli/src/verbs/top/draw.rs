//! Draws a frame of `top`.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Row, StatefulWidget, Table, TableState, Widget};

use super::View;
use crate::output::Field;
use crate::paint::{Tone, printable};
use crate::tables;

/// The lines of a table in addition to its rows: two for the border, one for the header.
const FRAME_LINES: u16 = 3;

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

    let rows = view.snapshot.services.iter().map(tables::service).collect();
    let title = format!(" {} services ", view.snapshot.services.len());
    let mut state = TableState::new().with_selected(view.chosen);
    StatefulWidget::render(
        table(&title, tables::SERVICE_HEADER, rows, is_coloured),
        upper,
        buffer,
        &mut state,
    );

    let rows: Vec<Vec<Field>> = view.replicas().map(|replica| tables::replica(replica, os::wall())).collect();
    let of_service =
        view.chosen_service().map(|service| format!(" of {}", service.name())).unwrap_or_default();
    let title = format!(" {} replicas{of_service} ", rows.len());
    Widget::render(table(&title, tables::REPLICA_HEADER, rows, is_coloured), lower, buffer);

    let (text, tone) = match &view.problem {
        Some(problem) => (printable(problem), Tone::Bad),
        None => ("q: quit, arrows: choose a service, Esc: replicas of all services".to_owned(), Tone::Quiet),
    };
    Line::styled(text, style(Some(tone), is_coloured)).render(foot, buffer);
}

fn table(title: &str, header: &[&'static str], rows: Vec<Vec<Field>>, is_coloured: bool) -> Table<'static> {
    let widths: Vec<Constraint> = (0..header.len())
        .map(|column| {
            let cells =
                rows.iter().filter_map(|row| row.get(column)).map(|field| field.parts().0.chars().count());
            let width = cells.chain([header[column].len()]).max().unwrap_or(0);
            Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
        })
        .collect();
    let row = |fields: Vec<Field>| {
        Row::new(fields.iter().map(|field| cell(field, is_coloured)).collect::<Vec<_>>())
    };
    Table::new(rows.into_iter().map(row).collect::<Vec<_>>(), widths)
        .header(Row::new(header.to_vec()).style(Style::new().add_modifier(Modifier::BOLD)))
        .column_spacing(2)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::bordered().title(printable(title)))
}

fn cell(field: &Field, is_coloured: bool) -> Cell<'static> {
    let (text, tone) = field.parts();
    let alignment = if field.is_number() { Alignment::Right } else { Alignment::Left };
    Cell::from(Text::from(text.to_owned()).alignment(alignment)).style(style(tone, is_coloured))
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
    use serde_json::{Map, Value, json};

    use super::super::{KeyAction, Snapshot};
    use super::*;

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
            services: vec![service("cart"), service("shop")],
            replicas: vec![replica("cart"), replica("shop")],
        };
        View { snapshot, chosen: None, problem: None }
    }

    fn shown(view: &View) -> String {
        let area = Rect::new(0, 0, 120, 20);
        let mut buffer = Buffer::empty(area);
        draw(view, false, area, &mut buffer);
        let line = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>() + "\n";
        (0..area.height).map(line).collect()
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

    #[test]
    fn the_smallest_terminal_does_not_panic() {
        for (width, height) in [(1, 1), (10, 2), (200, 5)] {
            let area = Rect::new(0, 0, width, height);
            draw(&view(), true, area, &mut Buffer::empty(area));
        }
    }
}
