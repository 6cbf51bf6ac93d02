//! Both edges misbehave at once, at random and with processes killed: in the end golden equals the sources and every plant equals
//! golden, or somebody is told by name.
//!
//! `MILLRACE_EDGES=50` runs so many seeds (`make edges`), `MILLRACE_SEED=7` the one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use devstack::{Stack, StackOptions};
use millrace_e2e::{Look, check, landscape, until};
use model::{Data, Domain, Golden, LetterState, Reason};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::tracker::Tracker;

mod erp;
mod plant;
mod shop;

use self::{
    erp::Erp,
    plant::{Plant, Pretends},
    shop::Shop,
};

/// A delete by absence at a polled source takes two readings, and a machine with many tests is slow.
const PATIENCE: Duration = Duration::from_secs(240);
const PLANTS: [&str; 2] = ["north", "south"];
const VICTIMS: [&str; 5] = ["publisher-shop", "publisher-erp", "validator", "sink-north", "sink-south"];
const STEPS: usize = 30;
const KILL_EVERY: usize = 5;
/// So many landscapes at a time: most of a run is waiting.
const TOGETHER: usize = 3;

struct Edges {
    stack: Stack,
    look: Look,
    shop: Shop,
    erp: Erp,
    plants: BTreeMap<&'static str, Plant>,
    random: StdRng,
    seed: u64,
}

/// What two parties do not agree about.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    /// The stage whose letters would name it.
    system: &'static str,
    domain: Domain,
    key: String,
    source_key: Option<String>,
    what: String,
}

impl Edges {
    async fn start(seed: u64, pretends: [Option<Pretends>; 2]) -> Result<Self> {
        let mut options = StackOptions::new(landscape("edges"));
        options.session_timeout = Some(Duration::from_secs(6));
        let mut stack = Stack::start(options).await?;
        let look = Look::at(&stack)?;
        let shop = Shop::start(35).await?;
        let erp = Erp::start(&PathBuf::from(stack.systems.source_endpoint("erp")?), 25)?;
        let mut plants = BTreeMap::new();
        for (name, pretends) in PLANTS.into_iter().zip(pretends) {
            plants.insert(name, Plant::start(seed, pretends).await?);
        }
        let store = stack.folder().join("tracker.sqlite");
        tokio::task::block_in_place(|| -> Result<()> {
            stack.fleet.tracker(&store)?;
            stack.fleet.replayer()?;
            stack.fleet.validator("validator")?;
            for (name, plant) in &plants {
                stack.fleet.sink(name, plant.url())?;
            }
            stack.fleet.publisher("shop", shop.url())?;
            let folder = stack.systems.source_endpoint("erp")?;
            stack.fleet.publisher("erp", &folder)?;
            stack.fleet.wait_ready(PATIENCE)
        })?;
        Ok(Self { stack, look, shop, erp, plants, random: StdRng::seed_from_u64(seed), seed })
    }

    /// Everybody misbehaves.
    async fn misbehave(&mut self) -> Result<()> {
        self.plants.values().for_each(|plant| plant.set_moody(true));
        for step in 0..STEPS {
            let shop = self.shop.step(&mut self.random);
            let erp = if step % 3 == 0 { self.erp.step(&mut self.random).await? } else { "-".to_owned() };
            println!("seed {} step {step}: shop: {shop}; erp: {erp}", self.seed);
            if step % KILL_EVERY == KILL_EVERY - 1 {
                let victim = *VICTIMS.choose(&mut self.random).expect("there are some");
                println!("seed {} step {step}: kill -9 {victim}", self.seed);
                tokio::task::block_in_place(|| {
                    self.stack.fleet.kill(victim)?;
                    self.stack.fleet.start_again(victim)
                })?;
            }
            // The moment is what differs between runs; nothing waits for this time to be enough.
            tokio::time::sleep(Duration::from_millis(self.random.random_range(50..700))).await;
        }
        Ok(())
    }

    /// Everybody behaves again.
    fn behave(&self) -> Result<()> {
        self.shop.behave();
        self.erp.write()?;
        self.plants.values().for_each(|plant| plant.set_moody(false));
        Ok(())
    }

    /// Nothing is different that nobody is told about.
    async fn settles(&self) -> Result<()> {
        self.agrees("sources, golden and plants to agree").await?;
        // What was on its way then has arrived, too.
        let sweeps = self.shop.sweeps();
        until("two more sweeps of the shop", PATIENCE, || {
            let done = self.shop.sweeps().saturating_sub(sweeps);
            std::future::ready(if done >= 2 { Ok(()) } else { Err(format!("{done} sweeps")) })
        })
        .await?;
        self.agrees("sources, golden and plants to agree still").await?;
        for domain in [Domain::Customer, Domain::Item] {
            let seen = self.look.golden(domain).await?;
            check::assert_none(&format!("seed {}: golden.{domain}", self.seed), &check::revisions_rise_once(&seen));
        }
        for (name, plant) in &self.plants {
            check::assert_none(&format!("seed {}: {name}", self.seed), &plant.regressions());
        }
        Ok(())
    }

    async fn agrees(&self, what: &str) -> Result<()> {
        until(&format!("seed {}: {what}", self.seed), PATIENCE, || async {
            let untold = self.untold().await.map_err(|error| format!("{error:#}"))?;
            match untold.first() {
                None => Ok(()),
                Some(_) => {
                    let first: Vec<_> = untold.iter().take(5).collect();
                    Err(format!("{} differences that nobody is told about, the first: {first:#?}", untold.len()))
                }
            }
        })
        .await
    }

    async fn untold(&self) -> Result<Vec<Difference>> {
        let mut found = self.differences().await?;
        let told = self.told().await?;
        found.retain(|one| {
            let names = [Some(&one.key), one.source_key.as_ref()];
            let is_named = |name: &String| told.contains(&(one.system.to_owned(), one.domain.name().to_owned(), name.clone()));
            !names.into_iter().flatten().any(is_named)
        });
        Ok(found)
    }

    async fn differences(&self) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        let mut golden = BTreeMap::new();
        let sources = [("shop", Domain::Customer, self.shop.truth()), ("erp", Domain::Item, self.erp.truth())];
        for (system, domain, truth) in sources {
            let accepted = texts(&check::newest(&self.look.golden(domain).await?));
            let difference = |key: &str, source_key: Option<&String>, what: String| {
                let (key, source_key) = (key.to_owned(), source_key.cloned());
                Difference { system, domain, key, source_key, what }
            };
            for (number, (id, text)) in &truth {
                let key = if domain == Domain::Item { format!("{number}/A") } else { number.clone() };
                let there = accepted.get(&format!("{domain}/{key}"));
                if there != Some(text) {
                    let what = format!("{system} says {}, golden {:?}", short(text), there.map(|text| short(text)));
                    differences.push(difference(&key, Some(id), what));
                }
            }
            for key in accepted.keys() {
                let key = key.split_once('/').map_or(key.as_str(), |(_, key)| key);
                let number = key.strip_suffix("/A").unwrap_or(key);
                if !truth.contains_key(number) {
                    differences.push(difference(key, None, format!("{system} has it no more, golden has")));
                }
            }
            golden.extend(accepted);
        }
        for (name, plant) in &self.plants {
            let held = plant.holds();
            let keys: BTreeSet<&String> = golden.keys().chain(held.keys()).collect();
            for key in keys.into_iter().filter(|key| golden.get(*key) != held.get(*key)) {
                let (domain, record) = key.split_once('/').expect("domain/key");
                let domain = if domain == Domain::Item.name() { Domain::Item } else { Domain::Customer };
                let [wanted, there] = [golden.get(key), held.get(key)].map(|text| text.map(|text| short(text)));
                let what = format!("golden has {wanted:?}, {name} {there:?}");
                differences.push(Difference { system: name, domain, key: record.to_owned(), source_key: None, what });
            }
        }
        Ok(differences)
    }

    /// (system, domain, record key or source key) of everything that a person is told about one record.
    async fn told(&self) -> Result<BTreeSet<(String, String, String)>> {
        let mut told = BTreeSet::new();
        for letter in self.look.letter_states().await?.into_values() {
            if !matches!(letter.state, LetterState::Open | LetterState::Replaying) {
                continue;
            }
            // The validator's letters are about what a source said.
            let system = if letter.system == "validator" { letter.source.unwrap_or(letter.system) } else { letter.system };
            let domain = letter.domain.map(|domain| domain.name().to_owned()).unwrap_or_default();
            let names = letter.key.map(|key| key.to_string()).into_iter().chain(letter.source_key);
            told.extend(names.map(|name| (system.clone(), domain.clone(), name)));
        }
        for (key, held) in self.look.held().await? {
            let Some((domain, key)) = key.split_once('/') else { continue };
            for entry in held.waiting.iter().filter(|entry| entry.reason == Reason::Steward) {
                told.insert((entry.source.clone(), domain.to_owned(), key.to_owned()));
            }
        }
        let overview = Tracker::of(&self.stack)?.get("overview", &[]).await?;
        for need in overview["needs_a_person"].as_array().into_iter().flatten() {
            if let [Some(system), Some(domain), Some(key)] = ["system", "domain", "key"].map(|name| need[name].as_str()) {
                told.insert((system.to_owned(), domain.to_owned(), key.to_owned()));
            }
        }
        Ok(told)
    }
}

/// `domain/key` → the text of every golden record that is there.
fn texts(golden: &BTreeMap<String, Golden>) -> BTreeMap<String, String> {
    let text = |data: &Data| match data {
        Data::Item(item) => item.descriptions.first().map(|text| text.text.clone()).unwrap_or_default(),
        Data::Customer(customer) => customer.name.clone().unwrap_or_default(),
        Data::Reference(_) | Data::WorkCenter(_) => String::new(),
    };
    golden.iter().filter_map(|(key, golden)| Some((key.clone(), text(golden.data.as_ref()?)))).collect()
}

fn short(text: &str) -> String {
    if text.len() > 40 { format!("{}… ({} bytes)", &text[..20], text.len()) } else { text.to_owned() }
}

async fn run(seed: u64) -> Result<()> {
    let mut edges = Edges::start(seed, [None; 2]).await?;
    edges.misbehave().await?;
    edges.behave()?;
    edges.settles().await
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("MILLRACE_SEED"), number("MILLRACE_EDGES")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (1..=count.unwrap_or(3)).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_both_edges_do_the_truth_arrives_or_somebody_is_told() -> Result<()> {
    let mut failed = Vec::new();
    for together in seeds().chunks(TOGETHER) {
        let mut runs = tokio::task::JoinSet::new();
        for seed in together {
            runs.spawn(run(*seed));
        }
        while let Some(ended) = runs.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed.push(format!("{error:#}")),
                Err(panicked) => failed.push(panicked.to_string()),
            }
        }
    }
    check::assert_none("seeds", &failed);
    Ok(())
}

/// The judge has to see what older versions did: a value that was never sent, a record that a plant lost, a row that nobody read.
#[tokio::test(flavor = "multi_thread")]
async fn the_judge_sees_a_value_not_sent_a_record_lost_and_a_row_not_read() -> Result<()> {
    let pretends = [Some(Pretends::Keeps("customer/C-001")), Some(Pretends::Loses("item/I-001/A"))];
    let edges = Edges::start(1, pretends).await?;
    // North has it as it began before it is changed; south never has the item, and that is all.
    judged(&edges, &[("south", "I-001/A")]).await?;
    edges.shop.change_name("r001", "changed");
    edges.shop.hide("r-hidden", "C-hidden");
    judged(&edges, &[("north", "C-001"), ("shop", "C-hidden"), ("south", "I-001/A")]).await
}

async fn judged(edges: &Edges, expected: &[(&str, &str)]) -> Result<()> {
    until("the judge to see just that", PATIENCE, || async {
        let untold = edges.untold().await.map_err(|error| format!("{error:#}"))?;
        let mut seen: Vec<_> = untold.iter().map(|one| (one.system, one.key.as_str())).collect();
        seen.sort_unstable();
        if seen == expected { Ok(()) } else { Err(format!("{untold:?}")) }
    })
    .await
}
