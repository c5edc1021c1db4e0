//! A page with pictures: one HTML file that opens without a network, since the plotting script is in it.
//!
//! `load` writes its report with it, the benchmarks theirs. It knows how such a page looks and nothing of what it tells: words,
//! pictures and tables come from the caller, as plain text, and are escaped here. Pictures are of the `plotly` crate.
//!
//! It must never refer to anything outside the page, and never be used by the balancer: the script would be in its program.

mod picture;

use plotly::Plot;

pub use picture::{Picture, axis};

/// Pictures are drawn while the page is read: columns of a grid are as wide then as later, parts of a flexible row are not.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1c2733}\
h1,h2,h3{line-height:1.2}h2{margin-top:2.5rem}\
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(30rem,100%),1fr));gap:1rem}figure{margin:0;min-width:0}\
.tables{display:flex;flex-wrap:wrap;gap:1rem 3rem}figcaption{padding:0 .5rem;color:#3d4d5c}.wide{overflow-x:auto;min-width:0}\
table{border-collapse:collapse;font-size:.85rem;margin:.5rem 0}\
td,th{padding:.2rem .7rem;border-bottom:1px solid #d5dde5;text-align:right;white-space:nowrap}\
td:first-child,th:first-child{text-align:left}";

const SCRIPT_END: &str = "</script>";

/// A page that grows from top to bottom.
#[derive(Debug)]
pub struct Page {
    title: String,
    body: String,
    pictures: usize,
}

/// A table. Cells are text; those of the first column stand left, all others right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Stands above it; may be empty.
    pub title: String,
    /// Titles of the columns; may be empty.
    pub head: Vec<String>,
    /// The rows, each with its cells.
    pub rows: Vec<Vec<String>>,
}

impl Page {
    /// A page of that title, which is its first heading too.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let title = escaped(title);
        Self {
            body: format!("<h1>{title}</h1>\n"),
            title,
            pictures: 0,
        }
    }

    /// Begins a section.
    pub fn heading(&mut self, text: &str) {
        self.body.push_str(&format!("<h2>{}</h2>\n", escaped(text)));
    }

    /// A paragraph of text.
    pub fn paragraph(&mut self, text: &str) {
        self.body.push_str(&format!("<p>{}</p>\n", escaped(text)));
    }

    /// A list of names, each with what is to be said of it.
    pub fn list<'a>(&mut self, items: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.body.push_str("<ul>\n");
        for (name, text) in items {
            let item = format!("<li><b>{}</b> {}</li>\n", escaped(name), escaped(text));
            self.body.push_str(&item);
        }
        self.body.push_str("</ul>\n");
    }

    /// Pictures side by side, as many as the window is wide for.
    pub fn pictures(&mut self, pictures: impl IntoIterator<Item = Picture>) {
        self.body.push_str("<div class=\"pictures\">\n");
        for picture in pictures {
            self.pictures = self.pictures.saturating_add(1);
            // Plotly's own place is as high as what it stands in, caption and all.
            self.body
                .push_str(&format!("<figure><div>{}</div>", picture.html(self.pictures)));
            if let Some(caption) = picture.caption_text() {
                self.body
                    .push_str(&format!("<figcaption>{}</figcaption>", escaped(caption)));
            }
            self.body.push_str("</figure>\n");
        }
        self.body.push_str("</div>\n");
    }

    /// Tables side by side, as many as the window is wide for.
    pub fn tables<'a>(&mut self, tables: impl IntoIterator<Item = &'a Table>) {
        self.body.push_str("<div class=\"tables\">\n");
        for table in tables {
            self.body.push_str(&table.html());
        }
        self.body.push_str("</div>\n");
    }

    /// The whole page. About 5 MB, nearly all of it plotly's script.
    #[must_use]
    pub fn into_html(self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{}</title><style>{STYLE}</style>\n{}</head>\n<body>\n{}</body></html>\n",
            self.title,
            script(),
            self.body
        )
    }
}

impl Table {
    fn html(&self) -> String {
        let mut html = String::from("<div class=\"wide\">");
        if !self.title.is_empty() {
            html.push_str(&format!("<h3>{}</h3>", escaped(&self.title)));
        }
        html.push_str("<table>\n");
        if !self.head.is_empty() {
            html.push_str(&row_html("th", &self.head));
        }
        for row in &self.rows {
            html.push_str(&row_html("td", row));
        }
        html.push_str("</table></div>\n");
        html
    }
}

fn row_html(tag: &str, cells: &[String]) -> String {
    let cells: String = cells
        .iter()
        .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)))
        .collect();
    format!("<tr>{cells}</tr>\n")
}

/// Plotly's script. The crate hands it out together with MathJax, 2 MB for formulas that no page here has.
fn script() -> String {
    let mut scripts = Plot::offline_js_sources();
    if let Some(at) = scripts.find(SCRIPT_END) {
        scripts.truncate(at.saturating_add(SCRIPT_END.len()));
    }
    scripts
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotly::Bar;

    const HOSTILE: &str = "<a href=\"x\"> & </script><script>alert(1)</script>";

    fn picture() -> Picture {
        Picture::new(HOSTILE).trace(Bar::new(vec![HOSTILE], vec![1.0]))
    }

    /// A page without its script.
    fn told(page: Page) -> String {
        let html = page.into_html();
        let (head, rest) = html.split_once("<script").unwrap();
        let (_, body) = rest.split_once(SCRIPT_END).unwrap();
        format!("{head}{body}")
    }

    #[test]
    fn whatever_text_comes_in_stays_text() {
        let mut page = Page::new(HOSTILE);
        page.heading(HOSTILE);
        page.paragraph(HOSTILE);
        page.list([(HOSTILE, HOSTILE)]);
        page.tables(&[Table {
            title: HOSTILE.to_owned(),
            head: vec![HOSTILE.to_owned()],
            rows: vec![vec![HOSTILE.to_owned()]],
        }]);
        page.pictures([picture().caption(HOSTILE)]);
        let html = told(page);
        assert!(!html.contains("<a ") && !html.contains("<script>alert"), "{html}");
        // Title and heading of the page, heading, paragraph, twice the list, thrice the table, the caption.
        assert_eq!(
            html.matches("&lt;a href=&quot;x&quot;&gt; &amp; ").count(),
            10,
            "{html}"
        );
    }

    #[test]
    fn a_page_has_one_script_of_plotlys_and_refers_to_nothing_outside() {
        let script = script();
        assert!(script.starts_with("<script") && script.ends_with(SCRIPT_END));
        assert!(script.contains("plotly.js v"), "another script has come first");
        let mut page = Page::new("a");
        page.pictures([picture(), picture()]);
        let html = told(page);
        for reference in [" src=", "http:", "https:", "@import"] {
            assert!(!html.contains(reference), "{reference}: {html}");
        }
    }

    #[test]
    fn each_picture_has_a_place_of_its_own() {
        let mut page = Page::new("a");
        page.pictures([picture(), picture()]);
        page.pictures([picture()]);
        let html = told(page);
        for number in 1..=3 {
            let place = format!("id=\"picture-{number}\"");
            assert_eq!(html.matches(&place).count(), 1, "{place}: {html}");
        }
    }
}
