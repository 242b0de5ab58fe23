//! `top`: a live view of services and replicas on a terminal, or one frame as text.

mod draw;

use std::io::{self, IsTerminal};
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
use crate::output::Printer;
use crate::tables;
use crate::target::{ServiceArgument, Subject};

/// The refresh interval, the same as the loop's period.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a refresh may take before the view is marked as outdated.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);

/// Show services and replicas live; q quits, arrows choose a service
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Only this service, as service/NAME
    #[arg(value_name = "SERVICE")]
    service: Option<ServiceArgument>,
}

/// The services and replicas as of one refresh.
#[derive(Clone, Debug)]
struct Snapshot {
    server: String,
    at: String,
    services: Vec<v1::Service>,
    replicas: Vec<v1::Replica>,
}

/// The state of the view: the latest snapshot, the chosen service, and the error of the latest refresh.
#[derive(Debug)]
struct View {
    snapshot: Snapshot,
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
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let client = context.client()?;
    let snapshot = refresh(&client, arguments.service.as_ref()).await?;
    if !io::stdout().is_terminal() {
        return context.printer.text(&frame(context.printer, &snapshot));
    }
    let mut terminal = ratatui::try_init()
        .context("could not initialize the terminal; `homeostat top | cat` prints one frame as text")?;
    let mut view = View { snapshot, chosen: None, problem: None };
    let ended = live(context, &mut terminal, &client, arguments.service.as_ref(), &mut view).await;
    ratatui::restore();
    ended
}

/// One frame as text.
fn frame(printer: Printer, snapshot: &Snapshot) -> String {
    let mut services = printer.table(tables::SERVICE_HEADER);
    snapshot.services.iter().for_each(|service| services.row(tables::service(service)));
    let mut replicas = printer.table(tables::REPLICA_HEADER);
    snapshot.replicas.iter().for_each(|replica| replicas.row(tables::replica(replica, os::wall())));
    format!(
        "homeostat at {}, {}\n\n{}\n{}",
        snapshot.server,
        snapshot.at,
        services.finish(),
        replicas.finish()
    )
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
    Ok(Snapshot { server: client.server().to_owned(), at, services, replicas })
}

fn action_of(event: &Event) -> Option<KeyAction> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else { return None };
    match code {
        KeyCode::Char('q') => Some(KeyAction::Quit),
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Some(KeyAction::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(KeyAction::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(KeyAction::Down),
        KeyCode::Esc => Some(KeyAction::All),
        _ => None,
    }
}

impl View {
    fn apply(&mut self, action: KeyAction) {
        let last = self.snapshot.services.len().checked_sub(1);
        self.chosen = match (action, self.chosen, last) {
            (KeyAction::All | KeyAction::Quit, _, _) | (_, _, None) => None,
            (KeyAction::Down, None, Some(_)) => Some(0),
            (KeyAction::Down, Some(index), Some(last)) => Some((index + 1).min(last)),
            (KeyAction::Up, None, Some(last)) => Some(last),
            (KeyAction::Up, Some(index), Some(last)) => Some(index.saturating_sub(1).min(last)),
        };
    }

    /// Shows a new snapshot. The chosen service stays chosen even if its index changes.
    fn show(&mut self, snapshot: Snapshot) {
        let name = self.chosen_service().map(|service| service.name().to_owned());
        self.chosen =
            name.and_then(|name| snapshot.services.iter().position(|service| service.name() == name));
        self.snapshot = snapshot;
        self.problem = None;
    }

    fn chosen_service(&self) -> Option<&v1::Service> {
        self.snapshot.services.get(self.chosen?)
    }

    /// The replicas of the chosen service, or of all.
    fn replicas(&self) -> impl Iterator<Item = &v1::Replica> {
        let chosen = self.chosen_service().map(v1::Object::name);
        self.snapshot
            .replicas
            .iter()
            .filter(move |replica| chosen.is_none_or(|name| replica.status.service == name))
    }
}
