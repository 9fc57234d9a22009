//! Homeostat as users run it: the release binary with a configuration file, in the path of the same traffic.
//!
//! Each trial begins with a fresh process and data directory, so trials do not know of each other. The instant of
//! weight 0 is what Homeostat itself writes into the incident's story (`weight_zero`: the serving table was swapped),
//! read from the API afterwards: polling for it would disturb what is measured. Both clocks are the machine's.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use homeostat_load::{LabelReport, Moment, RunningLoad};
use homeostat_model::incident::Incident;
use hyper::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::shop::{CANARY_PERCENT, Shops, customers, first_bad};
use crate::{
    Failed,
    child::{Process, free_port},
    client,
    webhook::Webhook,
};

/// Traffic before anything happens: connections stand, caches are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest wait for the rollback and its webhook; fifty times what is aimed at.
const REACTION_WITHIN: Duration = Duration::from_secs(15);

/// When the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// The release is bad from its first request.
    BadRelease,
    /// The release is good for this long, then it turns bad: good evidence has piled up.
    TurnsBad(Duration),
}

/// Milliseconds from the first bad response, of one trial.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaction {
    pub(crate) weight_zero_ms: f64,
    pub(crate) webhook_ms: f64,
    /// Requests of the canary that the customers saw fail.
    pub(crate) harmed: u64,
}

/// One trial from start to end.
pub(crate) async fn one_trial(
    binary: &Path,
    scenario: Scenario,
    shops: &Shops,
    dir: &Path,
    seed: u64,
) -> Result<Reaction, Failed> {
    std::fs::create_dir_all(dir)?;
    let mut webhook = Webhook::start().await?;
    let (gateway, api) = (free_port()?, free_port()?);
    let config = dir.join("homeostat.yaml");
    std::fs::write(&config, config_text(gateway, api, shops, &webhook.url(), dir))?;
    let arguments = ["up".to_owned(), "--config".to_owned(), config.display().to_string()];
    let process = Process::start(binary, &arguments, dir.join("homeostat.log"))?;
    let measured = async {
        client::ready(api, "/-/ready", Duration::from_secs(15)).await?;
        let load = customers(vec![(gateway, 1)], seed)?;
        let reaction = react(scenario, shops, api, &load, &mut webhook).await;
        tokio::task::spawn_blocking(|| load.finish()).await?;
        reaction
    };
    let reaction = measured.await.map_err(|error| format!("homeostat: {error}{}", process.last_words()));
    shops.fault_off().await?;
    process.end().await?;
    Ok(reaction?)
}

async fn react(
    scenario: Scenario,
    shops: &Shops,
    api: SocketAddr,
    load: &RunningLoad,
    webhook: &mut Webhook,
) -> Result<Reaction, Failed> {
    sleep(WARM_UP).await;
    if scenario == Scenario::BadRelease {
        shops.fault_on().await?;
    }
    client::must(api, Method::POST, "/homeostat/v1/rollouts/shop/start", r#"{"reason":"measurement"}"#).await?;
    if let Scenario::TurnsBad(after) = scenario {
        sleep(after).await;
        load.tally().forget_first();
        shops.fault_on().await?;
    }
    let began = first_bad(load).await?;
    let told = webhook.next("firing", REACTION_WITHIN).await?;
    let weight_zero = weight_zero(api).await?;
    let harmed = load.tally().report().labels.get("v2").map_or(0, LabelReport::bad);
    Ok(Reaction {
        weight_zero_ms: weight_zero - wall_ms(began),
        webhook_ms: told.at.instant.duration_since(began.instant).as_secs_f64() * 1e3,
        harmed,
    })
}

/// Milliseconds since the epoch, with fraction.
fn wall_ms(moment: Moment) -> f64 {
    moment.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

#[derive(Deserialize)]
struct Page {
    incidents: Vec<Incident>,
}

/// When the canary's weight became 0, as the incident tells it; milliseconds since the epoch.
async fn weight_zero(api: SocketAddr) -> Result<f64, Failed> {
    let deadline = Instant::now() + REACTION_WITHIN;
    while Instant::now() < deadline {
        let page: Page = serde_json::from_slice(&client::must(api, Method::GET, "/homeostat/v1/incidents", "").await?)?;
        let mut story = page.incidents.iter().flat_map(|incident| &incident.milestones);
        if let Some(milestone) = story.find(|milestone| milestone.what == "weight_zero") {
            return Ok(milestone.at.unix_ns() as f64 / 1e6);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("no incident tells of weight 0 within {REACTION_WITHIN:?}").into())
}

fn config_text(gateway: SocketAddr, api: SocketAddr, shops: &Shops, webhook: &str, dir: &Path) -> String {
    let (v1, v2, data) = (shops.v1, shops.v2, dir.join("data").display().to_string());
    let mut text = String::new();
    let mut document = |kind: &str, name: &str, spec: &str| {
        // Writing to a String cannot fail.
        let _ =
            write!(text, "---\napiVersion: homeostat/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n");
    };
    document("Gateway", "gateway", &format!("{{ listeners: ['{gateway}'], workers: 1 }}"));
    document("Api", "api", &format!("{{ listen: '{api}' }}"));
    document("Store", "store", &format!("{{ dir: '{data}' }}"));
    document("Receiver", "bench", &format!("{{ webhook: '{webhook}', perMinute: 1000 }}"));
    document("Service", "shop", &format!("{{ versions: {{ v1: 'http://{v1}', v2: 'http://{v2}' }} }}"));
    document("Rollout", "shop", &format!("{{ service: shop, canary: v2, steps: ['{CANARY_PERCENT}%', '100%'] }}"));
    text
}
