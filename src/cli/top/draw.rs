//! The model as a picture. Pure: the same model and the same size give the same picture. Any size will do, down to nothing.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::columns::{Column, grid};
use super::keys::HELP;
use super::model::{Lost, Model};
use super::rates::Rates;
use super::rows::{Row, busiest};
use crate::api::{BackendState, Connection, Service};
use crate::cli::backends;
use crate::cli::human::{UNKNOWN, age, bytes, bytes_rate, counted, grouped, latency, rate, share};
use crate::cli::table::Side::{Left, Right};
use crate::cli::text::{shown, word};

/// Where there is less room, those of the lowest ranks stay.
const BACKENDS: [Column; 11] = [
    Column::new("SERVICE, BACKEND", Left, 16, 0),
    Column::new("ADDRESS", Left, 14, 5),
    Column::new("STATE", Left, 8, 0),
    Column::new("WEIGHT", Right, 6, 3),
    Column::new("ACTIVE", Right, 6, 1),
    Column::new("NEW", Right, 7, 1),
    Column::new("TO BACKEND", Right, 10, 2),
    Column::new("TO CLIENT", Right, 9, 2),
    Column::new("SHARE", Right, 6, 6),
    Column::new("FAILED", Right, 6, 4),
    Column::new("LATENCY", Right, 7, 4),
];

const CONNECTIONS: [Column; 8] = [
    Column::new("CLIENT", Left, 16, 0),
    Column::new("SERVICE", Left, 8, 2),
    Column::new("BACKEND", Left, 11, 1),
    Column::new("PHASE", Left, 8, 4),
    Column::new("AGE", Right, 7, 2),
    Column::new("BYTES", Right, 10, 0),
    Column::new("TO BACKEND", Right, 10, 3),
    Column::new("TO CLIENT", Right, 10, 3),
];

/// More of them nobody reads.
const BUSIEST_MAX: usize = 20;

const GONE: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let rows = model.rows();
    let lost_lines = if model.lost.is_some() { 3 } else { 0 };
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(lost_lines),
        Constraint::Length(1),
        Constraint::Max(u16::try_from(rows.len().saturating_add(1)).unwrap_or(u16::MAX)),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(5),
        Constraint::Length(1),
    ]);
    let [head, lost, _, services, _, title, connections, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(head_line(model)), head);
    if let Some(why) = &model.lost {
        frame.render_widget(
            Paragraph::new(lost_line(why)).style(GONE).wrap(Wrap { trim: true }),
            lost,
        );
    }
    draw_rows(frame, services, model, &rows);
    frame.render_widget(Paragraph::new(connections_title(model)), title);
    draw_connections(frame, connections, model);
    frame.render_widget(Paragraph::new(foot_line(model)), foot);
    if model.is_helping {
        draw_help(frame);
    }
}

fn head_line(model: &Model) -> Line<'static> {
    let status = &model.sample.status;
    let rates = model.rates.process;
    let state = if model.lost.is_some() {
        "gone".into()
    } else {
        word(&status.state)
    };
    let style = match (state.as_str(), &model.lost) {
        (_, Some(_)) => GONE,
        ("running", _) => Style::new().fg(Color::Green),
        _ => Style::new().fg(Color::Yellow),
    };
    Line::from(vec![
        Span::styled(format!("lb {} ", shown(&status.version)), BOLD),
        Span::styled(state, style),
        Span::raw(format!(
            ", up {}   {} active, {} new   {} to backends, {} to clients",
            age(status.uptime_seconds),
            counted(status.connections.active, "connection"),
            rate(rates.connections),
            bytes_rate(rates.to_backend),
            bytes_rate(rates.to_client),
        )),
    ])
}

fn lost_line(lost: &Lost) -> String {
    let times = counted(lost.looks, "look");
    format!(
        "{times} without an answer, below is what it said last: {}",
        shown(&lost.why)
    )
}

fn draw_rows(frame: &mut Frame<'_>, area: Rect, model: &Model, rows: &[Row<'_>]) {
    let selected = model.place();
    let height = usize::from(area.height.saturating_sub(1));
    let middle = selected.unwrap_or(0).saturating_sub(height.checked_div(2).unwrap_or(0));
    let first = middle.min(rows.len().saturating_sub(height));
    let visible = rows.iter().enumerate().skip(first).take(height);
    let cells = visible.map(|(at, row)| {
        let (cells, style) = match row {
            Row::Service(service, rates) => (service_cells(service, *rates), vec![BOLD; BACKENDS.len()]),
            Row::Backend(service, backend, rates) => {
                let mut styles = vec![Style::new(); BACKENDS.len()];
                if let Some(style) = styles.get_mut(2) {
                    *style = state_style(backend.state);
                }
                (backend_cells(service, backend, *rates), styles)
            }
        };
        (cells, style, selected == Some(at))
    });
    frame.render_widget(grid(&BACKENDS, cells.collect(), area.width), area);
}

fn service_cells(service: &Service, rates: Rates) -> Vec<String> {
    let up = service
        .backends
        .iter()
        .filter(|backend| backend.state == BackendState::Up)
        .count();
    vec![
        shown(&service.name).into_owned(),
        shown(&service.listen.join(", ")).into_owned(),
        format!("{up} of {} up", service.backends.len()),
        String::new(),
        grouped(service.connections.active),
        rate(rates.connections),
        bytes_rate(rates.to_backend),
        bytes_rate(rates.to_client),
        String::new(),
        grouped(service.connections.failed),
        String::new(),
    ]
}

fn backend_cells(service: &Service, backend: &crate::api::Backend, rates: Rates) -> Vec<String> {
    vec![
        format!("  {}", shown(&backend.name)),
        shown(&backend.address).into_owned(),
        backends::state(backend),
        backend.weight.to_string(),
        grouped(backend.connections.active),
        rate(rates.connections),
        bytes_rate(rates.to_backend),
        bytes_rate(rates.to_client),
        share(backend.connections.total, backends::total(service)),
        grouped(backend.connections.failed),
        latency(backend.health.latency_seconds),
    ]
}

/// As in the tables of the other commands.
fn state_style(state: BackendState) -> Style {
    Style::new().fg(match state {
        BackendState::Up => Color::Green,
        BackendState::Down => Color::Red,
        BackendState::Draining | BackendState::Maintenance | BackendState::Starting => Color::Yellow,
    })
}

fn connections_title(model: &Model) -> Line<'static> {
    let live = &model.sample.connections;
    let seen = live.connections.len() as u64;
    let of = if live.is_truncated {
        format!(
            "busiest of {} live connections, of {}",
            grouped(seen),
            grouped(model.sample.status.connections.active)
        )
    } else {
        format!("busiest of {}", counted(seen, "live connection"))
    };
    Line::styled(of, BOLD)
}

fn draw_connections(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let most = usize::from(area.height.saturating_sub(1)).min(BUSIEST_MAX);
    let cells = busiest(&model.sample, &model.rates, most)
        .into_iter()
        .map(|(connection, rate)| {
            let styles = vec![Style::new(); CONNECTIONS.len()];
            (connection_cells(connection, rate), styles, false)
        });
    frame.render_widget(grid(&CONNECTIONS, cells.collect(), area.width), area);
}

fn connection_cells(connection: &Connection, rate: Option<f64>) -> Vec<String> {
    vec![
        shown(&connection.client).into_owned(),
        shown(&connection.service).into_owned(),
        shown(connection.backend.as_deref().unwrap_or(UNKNOWN)).into_owned(),
        word(&connection.phase),
        age(connection.seconds),
        bytes_rate(rate),
        bytes(connection.bytes_to_backend),
        bytes(connection.bytes_to_client),
    ]
}

fn foot_line(model: &Model) -> Line<'static> {
    match &model.notice {
        Some(Ok(done)) => Line::styled(shown(done).into_owned(), Style::new().fg(Color::Green)),
        Some(Err(refused)) => Line::styled(shown(refused).into_owned(), Style::new().fg(Color::Red)),
        None => {
            let order = model.order.as_str();
            Line::styled(
                format!("q quit  jk select  d drain  r resume  +- weight  s sort ({order})  ? help"),
                FAINT,
            )
        }
    }
}

fn draw_help(frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(key, what)| Line::from(vec![Span::styled(format!(" {key:<16}"), BOLD), Span::raw(*what)]))
        .collect();
    let size = |number: usize| Constraint::Max(u16::try_from(number).unwrap_or(u16::MAX));
    let width = lines.iter().map(Line::width).max().unwrap_or(0).saturating_add(3);
    let area = frame.area().centered(size(width), size(lines.len().saturating_add(2)));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title("keys").title_alignment(Alignment::Center);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests;
