//! The files that are written: each experiment's figures, all response times, and one page with every chapter.

use std::fs;
use std::path::{Path, PathBuf};

use lb::page::Page;
use serde_json::{Value, json};

use crate::chapter::Chapter;
use crate::common::{Failure, say};

/// The results, as they come in.
pub(crate) struct Report {
    folder: PathBuf,
    /// Machine, date, network.
    place: String,
    page: Page,
    response_times: serde_json::Map<String, Value>,
    /// What failed, and what isn't as it must be.
    broken: Vec<String>,
}

impl Report {
    /// Files will go to this folder.
    pub(crate) fn new(folder: &Path, place: String) -> Result<Self, Failure> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut page = Page::new("What each policy does");
        page.paragraph(&format!("{place}. Client, lb and backends share its cores."));
        Ok(Self {
            folder: folder.to_owned(),
            place,
            page,
            response_times: serde_json::Map::new(),
            broken: Vec::new(),
        })
    }

    /// An experiment is over. One that failed doesn't stop the others.
    pub(crate) fn enter(&mut self, name: &str, outcome: Result<Chapter, Failure>) -> Result<(), Failure> {
        let chapter = match outcome {
            Ok(chapter) => chapter,
            Err(failure) => {
                self.page.heading(&format!("{name} failed"));
                self.page.paragraph(&failure.to_string());
                self.broken.push(format!("{name}: {failure}"));
                return Ok(());
            }
        };
        let figures = json!({
            "experiment": chapter.title, "machine": self.place, "how": chapter.how, "broken": chapter.broken,
            "figures": chapter.figures,
        });
        fs::write(self.folder.join(format!("{name}.json")), format!("{figures:#}\n"))?;
        self.page.heading(chapter.title);
        self.page.paragraph(&chapter.how);
        for broken in &chapter.broken {
            self.page.paragraph(&format!("Not as required: {broken}."));
            self.broken.push(format!("{name}: {broken}"));
        }
        self.page.pictures(chapter.pictures);
        self.page.tables(&chapter.tables);
        self.response_times.extend(chapter.response_times);
        Ok(())
    }

    /// Writes what is left; fails if anything was broken.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let times = json!({"machine": self.place, "seconds": self.response_times});
        let (times_file, html) = (self.folder.join("response_times.json"), self.folder.join("report.html"));
        fs::write(times_file, format!("{times:#}\n"))?;
        fs::write(&html, self.page.into_html())?;
        say(&format!("{} written", html.display()));
        match self.broken.is_empty() {
            true => Ok(()),
            false => Err(self.broken.join("\n").into()),
        }
    }
}
