//! The script that draws the dashboard's pictures: plotly.js, as the `plotly` crate carries it.
//!
//! `assets.rs` serves it. The page's own scripts call it by `window.Plotly`.

use std::sync::LazyLock;

use plotly::Plot;

const SCRIPT_END: &str = "</script>";

/// Plotly's script, about 4.6 MB, without the tags around it; empty if the crate should hand out something else one day, and then
/// the page shows its figures without pictures. In memory from the first call on.
pub(super) fn script() -> &'static str {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| bare(&Plot::offline_js_sources()).to_owned());
    &SCRIPT
}

/// The first script of some HTML. The crate hands out a second: MathJax, for formulas that no picture here has.
fn bare(html: &str) -> &str {
    let inner = html.split_once("<script").and_then(|(_, rest)| rest.split_once('>'));
    let script = inner.and_then(|(_, rest)| rest.split_once(SCRIPT_END));
    script.map_or("", |(script, _)| script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_all_of_plotly_and_nothing_else() {
        let script = script();
        let head: String = script.chars().take(40).collect();
        assert!(head.contains("plotly.js v"), "{head}");
        let end = script.trim_end().lines().rev().take(3).collect::<String>();
        assert!(end.contains("return Plotly;"), "{end}");
        assert!(!script.contains(SCRIPT_END));
    }

    #[test]
    fn what_is_no_script_is_empty() {
        assert_eq!(bare("<script type=\"a\">x<y</script>\n<script>z</script>"), "x<y");
        for html in ["", "<script", "<script>x"] {
            assert_eq!(bare(html), "");
        }
    }
}
