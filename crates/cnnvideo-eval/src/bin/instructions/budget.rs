// SPDX-License-Identifier: MIT OR Apache-2.0

//! The budget: instructions of a frame, by case.

use std::{collections::BTreeMap, path::Path, process::Command};

use cnnvideo_eval::{Result, output::write_file};
use serde::{Deserialize, Serialize};

use crate::callgrind::KERNELS;

/// Relative difference from the budget that counts.
const TOLERANCE: f64 = 0.05;
/// How to accept new counts.
const HOW_TO_UPDATE: &str = "if that is right, run `make update-instructions`, commit \
     benches/instructions.json and say why";

/// Instructions of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Budget {
    /// Compiler, on which counts depend.
    compiler: String,
    /// Kernel set.
    kernels: String,
    /// Instructions of a frame by name of the case.
    pub(super) cases: BTreeMap<String, u64>,
}

/// Difference of counts from a budget, as lines of text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// What one should know.
    pub(super) notes: Vec<String>,
    /// What is wrong.
    pub(super) failures: Vec<String>,
}

impl Budget {
    /// Returns a budget without cases, for this compiler.
    pub(super) fn empty() -> Self {
        let cases = BTreeMap::new();
        Self { compiler: compiler(), kernels: KERNELS.to_owned(), cases }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no budget.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let in_file = |err: &dyn std::fmt::Display| format!("{}: {err}", path.display());
        let text = std::fs::read_to_string(path).map_err(|err| in_file(&err))?;
        Ok(serde_json::from_str(&text).map_err(|err| in_file(&err))?)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_file(path, |temporary| Ok(std::fs::write(temporary, text)?))
    }

    /// Compares counts with this budget.
    pub(super) fn compare(&self, counted: &Self) -> Comparison {
        let mut comparison = Comparison::default();
        for (name, count) in &counted.cases {
            let Some(budget) = self.cases.get(name) else {
                comparison.failures.push(format!("{name} has no budget: {HOW_TO_UPDATE}"));
                continue;
            };
            let change = *count as f64 / *budget as f64 - 1.0;
            let percent = 100.0 * change.abs();
            if change > TOLERANCE {
                comparison.failures.push(format!(
                    "{name} needs {percent:.1}% more instructions than its budget ({count} instead \
                     of {budget} a frame): {HOW_TO_UPDATE}"
                ));
            } else if change < -TOLERANCE {
                comparison.notes.push(format!(
                    "{name} needs {percent:.1}% fewer instructions than its budget; run `make \
                     update-instructions`, so that the gain is kept"
                ));
            }
        }
        for name in self.cases.keys().filter(|name| !counted.cases.contains_key(*name)) {
            comparison.failures.push(format!("there is no case {name}: {HOW_TO_UPDATE}"));
        }
        if self.compiler != counted.compiler
            && !(comparison.notes.is_empty() && comparison.failures.is_empty())
        {
            comparison
                .notes
                .push(format!("The budget is of {}, this is {}.", self.compiler, counted.compiler));
        }
        comparison
    }
}

/// Returns the version of the compiler in the path.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(cases: &[(&str, u64)]) -> Budget {
        let cases = cases.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Budget { compiler: "rustc 1".to_owned(), kernels: KERNELS.to_owned(), cases }
    }

    #[test]
    fn growth_of_more_than_five_percent_fails() {
        let stored = budget(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000)]);
        let counted = budget(&[("a", 1049), ("b", 1051), ("c", 951), ("d", 900)]);
        let Comparison { notes, failures } = stored.compare(&counted);
        assert!(
            failures.len() == 1 && failures[0].starts_with("b needs 5.1% more"),
            "{failures:?}"
        );
        assert!(failures[0].contains("make update-instructions"), "{failures:?}");
        assert!(notes.len() == 1 && notes[0].starts_with("d needs 10.0% fewer"), "{notes:?}");
        assert_eq!(stored.compare(&stored), Comparison::default());
    }

    #[test]
    fn cases_must_be_those_of_the_budget() {
        let failures = budget(&[("a", 10), ("b", 10)]).compare(&budget(&[("b", 10), ("c", 10)]));
        assert_eq!(failures.failures.len(), 2);
    }

    #[test]
    fn another_compiler_is_named_with_a_difference_only() {
        let stored = budget(&[("a", 1000)]);
        let mut counted = Budget { compiler: "rustc 2".to_owned(), ..stored.clone() };
        assert_eq!(stored.compare(&counted), Comparison::default());
        counted.cases.insert("a".to_owned(), 2000);
        assert!(stored.compare(&counted).notes[0].contains("rustc 2"));
    }
}
