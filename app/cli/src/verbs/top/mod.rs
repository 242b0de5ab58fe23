//! `top`: a live view of services and replicas on a terminal, or one frame as text.

mod draw;
mod traffic;

use std::io::{self, IsTerminal};
use std::mem;
use std::time::Duration;

use anyhow::Context;
use api::v1;
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::{Instant, timeout};

use crate::client::Client;
use crate::context::CommandContext;
use crate::failure::{Failure, sentence_of};
use crate::figures;
use crate::output::{Field, Printer};
use crate::tables;
use crate::target::{ServiceArgument, Subject};

/// The refresh interval, the same as the loop's period.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a refresh may take before the view is marked as outdated.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);

/// Show services and replicas live; q quits, arrows choose a service, t shows their traffic
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Only this service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceArgument>,
    /// Begin with the page of traffic: requests, bytes, retries and ejections of services, versions and replicas
    #[arg(long)]
    traffic: bool,
}

/// The services and replicas as of one refresh.
#[derive(Clone, Debug)]
struct Snapshot {
    server: String,
    at: String,
    /// When it was complete; rates are computed from two snapshots.
    taken: Instant,
    services: Vec<v1::Service>,
    replicas: Vec<v1::Replica>,
}

/// What the tables of a frame show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    /// State, usage and the most important rates.
    State,
    /// Traffic over the proxy, with versions.
    Traffic,
}

/// The state of the view: the latest snapshots, the chosen service and page, and the error of the latest refresh.
#[derive(Debug)]
struct View {
    snapshot: Snapshot,
    /// The snapshot before; `None` at the beginning.
    earlier: Option<Snapshot>,
    page: Page,
    /// The index of the chosen service; `None` shows the replicas of all services.
    chosen: Option<usize>,
    /// Why the latest refresh failed; the snapshot is then outdated.
    problem: Option<String>,
}

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyAction {
    Quit,
    Up,
    Down,
    All,
    OtherPage,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let client = context.client()?;
    let service = arguments.service.as_ref();
    let page = if arguments.traffic { Page::Traffic } else { Page::State };
    let mut view = View::new(refresh(&client, service).await?, page);
    if !io::stdout().is_terminal() {
        if page == Page::Traffic {
            // Rates need a second look.
            tokio::time::sleep(REFRESH_INTERVAL).await;
            view.show(refresh(&client, service).await?);
        }
        return context.printer.text(&frame(context.printer, &view));
    }
    let mut terminal = ratatui::try_init()
        .context("could not initialize the terminal; `homeostat top | cat` prints one frame as text")?;
    let ended = live(context, &mut terminal, &client, service, &mut view).await;
    ratatui::restore();
    ended
}

/// One frame as text.
fn frame(printer: Printer, view: &View) -> String {
    let text = |Rows { header, rows }: Rows| {
        let mut table = printer.table(header);
        rows.into_iter().for_each(|row| table.row(row));
        table.finish()
    };
    let Snapshot { server, at, .. } = &view.snapshot;
    format!("homeostat at {server}, {at}\n\n{}\n{}", text(view.upper()), text(view.lower()))
}

/// Refreshes and draws until the user quits.
async fn live(
    context: &CommandContext,
    terminal: &mut DefaultTerminal,
    client: &Client,
    service: Option<&ServiceArgument>,
    view: &mut View,
) -> Result<(), Failure> {
    const DRAW_FAILED: &str = "could not draw on the terminal";
    let is_coloured = context.printer.paint.is_on;
    let mut next_refresh = Instant::now() + REFRESH_INTERVAL;
    loop {
        terminal
            .draw(|frame| draw::draw(view, is_coloured, frame.area(), frame.buffer_mut()))
            .context(DRAW_FAILED)?;
        // Nothing else runs on this thread, so it can block until a key is pressed.
        if event::poll(next_refresh.saturating_duration_since(Instant::now())).context(DRAW_FAILED)? {
            // After any event, such as a new size, the current snapshot is drawn again.
            match action_of(&event::read().context(DRAW_FAILED)?) {
                Some(KeyAction::Quit) => return Ok(()),
                Some(action) => view.apply(action),
                None => {}
            }
            continue;
        }
        match timeout(REFRESH_TIMEOUT, refresh(client, service)).await {
            Ok(Ok(snapshot)) => view.show(snapshot),
            Ok(Err(Failure::Usage(error) | Failure::Failed(error))) => {
                view.problem = Some(sentence_of(&error));
            }
            Ok(Err(Failure::OutputClosed)) => return Ok(()),
            Err(_) => view.problem = Some(format!("homeostat at {} does not respond", client.server())),
        }
        next_refresh = Instant::now() + REFRESH_INTERVAL;
    }
}

async fn refresh(client: &Client, service: Option<&ServiceArgument>) -> Result<Snapshot, Failure> {
    let (services, replicas) = match service {
        Some(ServiceArgument(name)) => {
            let service: v1::Service = client.get(&format!("{}/{name}", Subject::Service.path())).await?;
            let list: v1::List<v1::Replica> =
                client.get(&format!("{}?service={name}", Subject::Replica.path())).await?;
            (vec![service], list.items)
        }
        None => {
            let services: v1::List<v1::Service> = client.get(Subject::Service.path()).await?;
            let replicas: v1::List<v1::Replica> = client.get(Subject::Replica.path()).await?;
            (services.items, replicas.items)
        }
    };
    let at = format!("{:.0}", figures::timestamp(os::wall()));
    Ok(Snapshot { server: client.server().to_owned(), at, taken: Instant::now(), services, replicas })
}

fn action_of(event: &Event) -> Option<KeyAction> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return None };
    match code {
        KeyCode::Char('q') => Some(KeyAction::Quit),
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(KeyAction::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(KeyAction::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(KeyAction::Down),
        KeyCode::Esc => Some(KeyAction::All),
        KeyCode::Char('t') => Some(KeyAction::OtherPage),
        _ => None,
    }
}

impl Snapshot {
    fn service(&self, name: &str) -> Option<&v1::Service> {
        self.services.iter().find(|service| service.name() == name)
    }
}

/// A table of a frame.
struct Rows {
    header: &'static [&'static str],
    rows: Vec<Vec<Field>>,
}

impl View {
    fn new(snapshot: Snapshot, page: Page) -> Self {
        Self { snapshot, earlier: None, page, chosen: None, problem: None }
    }

    fn apply(&mut self, action: KeyAction) {
        let last = self.snapshot.services.len().checked_sub(1);
        match action {
            KeyAction::Quit => {}
            KeyAction::All => self.chosen = None,
            KeyAction::Down => {
                self.chosen = last.map(|last| self.chosen.map_or(0, |index| index + 1).min(last));
            }
            KeyAction::Up => {
                self.chosen = last.map(|last| self.chosen.map_or(last, |index| index.saturating_sub(1)));
            }
            KeyAction::OtherPage => {
                self.page = match self.page {
                    Page::State => Page::Traffic,
                    Page::Traffic => Page::State,
                };
            }
        }
    }

    /// Shows a new snapshot. The chosen service stays chosen even if its index changes.
    fn show(&mut self, snapshot: Snapshot) {
        let name = self.chosen_service().map(|service| service.name().to_owned());
        self.chosen =
            name.and_then(|name| snapshot.services.iter().position(|service| service.name() == name));
        self.earlier = Some(mem::replace(&mut self.snapshot, snapshot));
        self.problem = None;
    }

    fn chosen_service(&self) -> Option<&v1::Service> {
        self.snapshot.services.get(self.chosen?)
    }

    /// The table of services.
    fn upper(&self) -> Rows {
        match self.page {
            Page::State => {
                let rows = self.snapshot.services.iter().map(tables::service).collect();
                Rows { header: tables::SERVICE_HEADER, rows }
            }
            Page::Traffic => Rows {
                header: traffic::HEADER,
                rows: traffic::services(&self.snapshot, self.earlier.as_ref()),
            },
        }
    }

    /// The table of replicas, and on the page of traffic of versions, of the chosen service or of all.
    fn lower(&self) -> Rows {
        let chosen = self.chosen_service().map(v1::Object::name);
        let is_shown = |name: &str| chosen.is_none_or(|chosen| chosen == name);
        let Snapshot { services, replicas, .. } = &self.snapshot;
        match self.page {
            Page::State => {
                let shown = replicas.iter().filter(|replica| is_shown(&replica.status.service));
                let rows = shown.map(|replica| tables::replica(replica, os::wall())).collect();
                Rows { header: tables::REPLICA_HEADER, rows }
            }
            Page::Traffic => {
                let shown = services.iter().map(v1::Object::name).filter(|name| is_shown(name));
                let parts = |name| traffic::parts_of(name, &self.snapshot, self.earlier.as_ref());
                Rows { header: traffic::HEADER, rows: shown.flat_map(parts).collect() }
            }
        }
    }
}
