//! `top`: services and replicas as they are, live on a terminal, or one frame as text.

mod draw;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Context;
use api::v1;
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::{Instant, timeout};

use crate::arguments::CommandContext;
use crate::client::Client;
use crate::failure::{Failure, sentence_of};
use crate::figures;
use crate::output::Printer;
use crate::tables;
use crate::target::{ServiceArgument, Subject};

/// The refresh interval: as often as the loop decides.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long one refresh may take before the view is marked as outdated.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(3);

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

/// What is shown: the last good look, which service is chosen, and what is wrong.
#[derive(Debug)]
struct View {
    snapshot: Snapshot,
    /// The place of the chosen service in the list; `None` shows the replicas of all.
    chosen: Option<usize>,
    /// Why the last look failed; what is shown is older then.
    problem: Option<String>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyAction {
    Quit,
    Up,
    Down,
    All,
}

pub(crate) async fn run(context: &CommandContext, arguments: Arguments) -> Result<(), Failure> {
    let client = context.client()?;
    let snapshot = look(&client, arguments.service.as_ref()).await?;
    if !io::stdout().is_terminal() {
        return context.printer.text(&frame(context.printer, &snapshot));
    }
    let mut terminal = ratatui::try_init()
        .context("could not take over the terminal; `homeostat top | cat` prints one frame as text")?;
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

/// Looks and draws until somebody quits.
async fn live(
    context: &CommandContext,
    terminal: &mut DefaultTerminal,
    client: &Client,
    service: Option<&ServiceArgument>,
    view: &mut View,
) -> Result<(), Failure> {
    const LOST: &str = "could not draw on the terminal";
    let is_coloured = context.printer.paint.is_on;
    let mut next_look = Instant::now() + LOOK_EVERY;
    loop {
        terminal
            .draw(|frame| draw::draw(view, is_coloured, frame.area(), frame.buffer_mut()))
            .context(LOST)?;
        // Nothing else runs on this thread, so it may wait for a key.
        if event::poll(next_look.saturating_duration_since(Instant::now())).context(LOST)? {
            // A new size, or anything else, is drawn anew at once, from what is known.
            match action_of(&event::read().context(LOST)?) {
                Some(KeyAction::Quit) => return Ok(()),
                Some(action) => view.apply(action),
                None => {}
            }
            continue;
        }
        match timeout(LOOK_WAIT_MAX, look(client, service)).await {
            Ok(Ok(snapshot)) => view.show(snapshot),
            Ok(Err(Failure::Usage(error) | Failure::Failed(error))) => {
                view.problem = Some(sentence_of(&error));
            }
            Ok(Err(Failure::NobodyReads)) => return Ok(()),
            Err(_) => view.problem = Some(format!("homeostat at {} does not answer", client.server())),
        }
        next_look = Instant::now() + LOOK_EVERY;
    }
}

async fn look(client: &Client, service: Option<&ServiceArgument>) -> Result<Snapshot, Failure> {
    let (services, replicas) = match service {
        Some(ServiceArgument(name)) => {
            let one: v1::Service = client.get(&format!("{}/{name}", Subject::Service.path())).await?;
            let list: v1::List<v1::Replica> =
                client.get(&format!("{}?service={name}", Subject::Replica.path())).await?;
            (vec![one], list.items)
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
            (KeyAction::Down, Some(at), Some(last)) => Some((at + 1).min(last)),
            (KeyAction::Up, None, Some(last)) => Some(last),
            (KeyAction::Up, Some(at), Some(last)) => Some(at.saturating_sub(1).min(last)),
        };
    }

    /// Shows a new snapshot; the chosen service stays chosen at its new position.
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
