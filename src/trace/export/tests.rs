mod simulation;
mod tools;

use std::fs;

use self::simulation::Simulation;
use crate::trace::{Timeline, Trace};

#[test]
fn dump() {
    let out = std::path::PathBuf::from(std::env::var("DUMP").unwrap());
    for (name, sim) in [("small", Simulation{hubs:3,runs:3000,first:11,skew:0,loses:false}), ("skew", Simulation{hubs:3,runs:3000,first:(1<<47)-20,skew:300,loses:true}),("large", Simulation{hubs:4,runs:300000,first:11,skew:0,loses:false})] {
        let trace = Trace::from_bytes(&sim.bytes()).unwrap();
        let timeline = Timeline::new(&trace);
        let mut go = |ext: &str, f: fn(&Trace,&Timeline,&mut dyn std::io::Write)->std::io::Result<()>| { let mut b=vec![]; f(&trace,&timeline,&mut b).unwrap(); fs::write(out.join(format!("{name}.{ext}")), b).unwrap(); };
        go("pftrace", super::perfetto); go("sched.pftrace", super::perfetto_sched); go("json", super::chrome); go("jsonl", super::json_lines); go("folded", super::folded); go("html", super::html);
        fs::write(out.join(format!("{name}.trace")), sim.bytes()).unwrap();
    }
}
