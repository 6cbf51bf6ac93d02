//! Which file is what: the folder layout of a landscape.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Problem, text};

/// The files of a landscape by their part; texts stay where they are.
#[derive(Default)]
pub(crate) struct Files<'a> {
    pub(crate) root: Option<&'a str>,
    /// Name → (path, text).
    pub(crate) domains: BTreeMap<&'a str, (&'a str, &'a str)>,
    pub(crate) sources: BTreeMap<&'a str, (&'a str, &'a str)>,
    pub(crate) destinations: BTreeMap<&'a str, (&'a str, &'a str)>,
    /// Name below `mappings/` → text.
    pub(crate) mappings: BTreeMap<&'a str, &'a str>,
    /// Name below `tables/` without ending → (path, text).
    pub(crate) tables: BTreeMap<&'a str, (&'a str, &'a str)>,
    /// (path, system, domain, name) of each case.
    pub(crate) cases: Vec<(&'a str, [&'a str; 3])>,
    pub(crate) texts: BTreeMap<&'a str, &'a str>,
}

pub(crate) const ROOT: &str = "millrace.yaml";

const FOLDERS: [&str; 6] = ["domains", "sources", "destinations", "mappings", "tables", "cases"];

impl<'a> Files<'a> {
    /// Sorts the files; what belongs nowhere is a problem, because a typing error in a name would silently switch it off.
    pub(crate) fn sort(files: &'a BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Self {
        let mut sorted = Self::default();
        for (path, text) in files {
            sorted.texts.insert(path, text);
            if let Err(problem) = sorted.place(path, text) {
                problems.push(problem);
            }
        }
        if sorted.root.is_none() {
            problems.push(Problem::in_file(ROOT, "the landscape has no millrace.yaml"));
        }
        for (folder, files) in [("sources", &sorted.sources), ("destinations", &sorted.destinations)] {
            for (name, (path, _)) in files {
                if let Err(message) = text::system_name(name) {
                    problems.push(Problem::in_file(path, message));
                }
                // Kafka's metric names treat `-`, `.` and `_` alike, so topics of such systems would be told apart badly.
                let twin = files.keys().find(|other| *other != name && other.replace('_', "-") == name.replace('_', "-"));
                if let Some(twin) = twin {
                    problems.push(Problem::in_file(path, format!("{folder} {name:?} and {twin:?} differ only in `-` and `_`")));
                }
            }
        }
        sorted
    }

    fn place(&mut self, path: &'a str, text: &'a str) -> Result<(), Problem> {
        if path == ROOT {
            self.root = Some(text);
            return Ok(());
        }
        let Some((folder, rest)) = path.split_once('/') else {
            let hint = text::did_you_mean(path, [ROOT]);
            return Err(Problem::in_file(path, "the file belongs to no part of a landscape").hinted(hint));
        };
        let yaml = rest.strip_suffix(".yaml").or_else(|| rest.strip_suffix(".yml"));
        let wrong = |what: &str| Problem::in_file(path, format!("{folder}/ holds {what}"));
        match folder {
            "domains" | "sources" | "destinations" => {
                let name = yaml.filter(|name| !name.contains('/')).ok_or_else(|| wrong("one <name>.yaml per entry"))?;
                let part = match folder {
                    "domains" => &mut self.domains,
                    "sources" => &mut self.sources,
                    _ => &mut self.destinations,
                };
                match part.insert(name, (path, text)) {
                    None => Ok(()),
                    Some((other, _)) => Err(Problem::in_file(path, format!("{other} describes {name} too: one of them must go"))),
                }
            }
            "mappings" => {
                if !rest.ends_with(".j2") {
                    return Err(wrong("Jinja mappings, <system>/<domain>.j2"));
                }
                self.mappings.insert(rest, text);
                Ok(())
            }
            "tables" => {
                self.tables.insert(yaml.ok_or_else(|| wrong("tables, <system>/<name>.yaml"))?, (path, text));
                Ok(())
            }
            "cases" => {
                let parts: Vec<&str> = yaml.unwrap_or_default().split('/').collect();
                let [system, domain, name] = parts[..] else { return Err(wrong("cases, <system>/<domain>/<name>.yaml")) };
                self.cases.push((path, [system, domain, name]));
                Ok(())
            }
            _ => {
                let hint = text::nearest(folder, FOLDERS).map(|meant| format!("did you mean \"{meant}/\"?"));
                Err(Problem::in_file(path, format!("{folder}/ is no part of a landscape")).hinted(hint))
            }
        }
    }

    pub(crate) fn mapping_names(&self) -> BTreeSet<&'a str> {
        self.mappings.keys().copied().collect()
    }
}
