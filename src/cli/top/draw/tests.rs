//! Pictures of models, line by line.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::super::fixture::sample;
use super::super::keys::Key;
use super::*;

fn model() -> Model {
    let mut model = Model::new(sample(100.0, 0));
    model.sampled(sample(102.0, 10));
    model
}

fn picture(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(model: &Model, width: u16, height: u16) -> Vec<String> {
    let buffer = picture(model, width, height);
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let line = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>();
    rows.map(|row| line(row).trim_end().to_owned()).collect()
}

/// The style of the first cell from which on `text` stands.
fn style_at(buffer: &Buffer, text: &str) -> Style {
    let cells = buffer.content();
    let symbols: Vec<&str> = cells.iter().map(|cell| cell.symbol()).collect();
    let length = text.chars().count();
    let at = symbols
        .windows(length)
        .position(|window| window.concat() == text)
        .unwrap();
    cells[at].style()
}

#[test]
fn all_of_it_is_on_a_wide_terminal() {
    let wanted = "\
lb 0.1.0 running, up 1m 42s   9 connections active, 30/s new   30 KiB/s to backends, 50 MiB/s to clients

SERVICE, BACKEND  ADDRESS         STATE      WEIGHT  ACTIVE      NEW  TO BACKEND  TO CLIENT   SHARE  FAILED  LATENCY
echo              127.0.0.1:9000  1 of 2 up               9     15/s    15 KiB/s   25 MiB/s               0
  server-9001     127.0.0.1:9001  up              1       5    5.0/s   5.0 KiB/s      0 B/s   33.3%       0   210 µs
  server-9002     127.0.0.1:9001  down            1       6     10/s    10 KiB/s      0 B/s   66.7%       0   210 µs
db                127.0.0.1:5432  0 of 1 up               9     15/s    15 KiB/s   25 MiB/s               0
  db-1            127.0.0.1:9001  draining        1       5    5.0/s   5.0 KiB/s      0 B/s  100.0%       0   210 µs

busiest of 2 live connections
CLIENT            SERVICE   BACKEND      PHASE         AGE       BYTES  TO BACKEND   TO CLIENT
10.0.0.1:5002     echo      server-9001  relaying      51s    40 KiB/s      40 KiB         0 B
10.0.0.1:5001     echo      server-9001  relaying      51s       0 B/s        10 B         0 B


q quit  jk select  d drain  r resume  +- weight  s sort (as in the file)  ? help";
    assert_eq!(lines(&model(), 120, 16).join("\n"), wanted);
}

#[test]
fn a_narrow_terminal_keeps_whole_columns() {
    let lines = lines(&model(), 80, 16);
    assert_eq!(
        lines[2],
        "SERVICE, BACKEND  STATE      WEIGHT  ACTIVE      NEW  TO BACKEND  TO CLIENT"
    );
    assert_eq!(
        lines[4],
        "  server-9001     up              1       5    5.0/s   5.0 KiB/s      0 B/s"
    );
}

#[test]
fn any_size_will_do() {
    let mut model = model();
    model.press(Key::Help);
    model.lost("no lb".into());
    for (width, height) in [(0, 0), (1, 1), (3, 40), (200, 2), (20, 5)] {
        picture(&model, width, height);
    }
}

#[test]
fn states_have_colours_and_the_selection_is_seen() {
    let mut model = model();
    model.press(Key::Down);
    let buffer = picture(&model, 120, 16);
    for (text, colour) in [
        ("running", Color::Green),
        ("down ", Color::Red),
        ("draining", Color::Yellow),
    ] {
        assert_eq!(style_at(&buffer, text).fg, Some(colour), "{text}");
    }
    let is_reversed = |text: &str| style_at(&buffer, text).add_modifier.contains(Modifier::REVERSED);
    assert!(is_reversed("  server-9001     127") && !is_reversed("  server-9002     127"));
}

#[test]
fn the_selected_backend_is_on_the_screen_however_many_there_are() {
    let mut many = sample(100.0, 0);
    let service = &mut many.status.services[0];
    let one = service.backends[0].clone();
    service.backends = (0..500)
        .map(|number| crate::api::Backend {
            name: format!("b{number:03}"),
            ..one.clone()
        })
        .collect();
    let mut model = Model::new(many);
    let shows = |model: &Model, name: &str| lines(model, 100, 24).iter().any(|line| line.contains(name));
    assert!(shows(&model, "b000") && !shows(&model, "b300"));
    for _ in 0..=300 {
        model.press(Key::Down);
    }
    assert!(!shows(&model, "b000") && shows(&model, "b300"));
    for _ in 0..=300 {
        model.press(Key::Down);
    }
    assert!(shows(&model, "db-1"));
}

#[test]
fn a_lost_lb_is_told_and_its_return_too() {
    let mut model = model();
    model.lost("no lb at 127.0.0.1:8000: connection refused".into());
    let gone = lines(&model, 120, 20);
    assert!(
        gone[0].starts_with("lb 0.1.0 gone, up 1m 42s   9 connections active, - new"),
        "{gone:#?}"
    );
    let wanted = "1 look without an answer, below is what it said last: no lb at 127.0.0.1:8000: connection refused";
    assert_eq!(gone[1], wanted);
    assert_eq!(style_at(&picture(&model, 120, 20), "1 look").fg, Some(Color::Red));
    model.sampled(sample(104.0, 20));
    assert!(lines(&model, 120, 20)[0].starts_with("lb 0.1.0 running"));
}

#[test]
fn help_and_what_became_of_a_change_are_shown() {
    let mut model = model();
    model.press(Key::Help);
    let help = lines(&model, 100, 24);
    for (key, what) in HELP {
        assert!(
            help.iter().any(|line| line.contains(key) && line.contains(what)),
            "{key}: {help:#?}"
        );
    }
    model.press(Key::Help);
    model.answered(Err("refused \u{1b}[2J".into()));
    assert_eq!(lines(&model, 100, 24)[23], "refused \\u{1b}[2J");
    model.answered(Ok("echo/a: weight 2".into()));
    assert_eq!(lines(&model, 100, 24)[23], "echo/a: weight 2");
}
