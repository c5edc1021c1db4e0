//! `drills.json`: one row a drill and subject, the newest of each.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// What became of one drill of one subject; the rig writes all but where and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) drill: String,
    pub(crate) fault: String,
    pub(crate) subject: String,
    /// `short` or `long`.
    pub(crate) form: String,
    pub(crate) seconds: f64,
    pub(crate) held: Vec<String>,
    pub(crate) not_held: Vec<String>,
    /// Claims about what this build hasn't got.
    pub(crate) pending: Vec<String>,
    pub(crate) figures: Vec<Figure>,
    #[serde(default)]
    pub(crate) date: String,
    #[serde(default)]
    pub(crate) machine: String,
}

/// Something measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Its name in the book of figures, if it is there.
    pub(crate) key: Option<String>,
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
    /// What the peers had in the book.
    pub(crate) haproxy: Option<f64>,
    pub(crate) nginx: Option<f64>,
    pub(crate) goal: Option<f64>,
}

/// All rows.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// None, where there is no such file.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let Ok(text) = std::fs::read_to_string(file) else {
            return Ok(Self::default());
        };
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?)
    }

    /// Whole or not at all.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let next = file.with_extension("json.next");
        std::fs::write(&next, serde_json::to_string_pretty(self)?)?;
        std::fs::rename(next, file)?;
        Ok(())
    }

    /// In the place of the one before.
    pub(crate) fn put(&mut self, row: Row) {
        self.rows
            .retain(|old| old.drill != row.drill || old.subject != row.subject);
        self.rows.push(row);
        self.rows.sort_by_key(|row| (number(row), row.subject.clone()));
    }

    pub(crate) fn get(&self, drill: &str, subject: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|row| row.drill == drill && row.subject == subject)
    }

    /// Whether nothing of these failed or is missing in the build.
    pub(crate) fn all_held(&self, subject: &str, drills: &[&str]) -> bool {
        let mut rows = drills.iter().filter_map(|drill| self.get(drill, subject));
        rows.all(|row| row.not_held.is_empty() && row.pending.is_empty())
    }
}

/// The 2 of T2.
fn number(row: &Row) -> Option<u32> {
    row.drill.strip_prefix('T')?.parse().ok()
}
