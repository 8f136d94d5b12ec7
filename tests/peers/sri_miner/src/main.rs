//! A Stratum V2 miner on SRI's library crates: it mines blocks one after the other on each of its channels, and says on
//! stdout what it hears, one line each:
//!
//!     opened CHANNEL GROUP KIND
//!     share|block CHANNEL SEQUENCE HASH       submitted; the hash as nodes write it
//!     accepted CHANNEL LAST_SEQUENCE COUNT
//!     refused CHANNEL SEQUENCE CODE
//!     chained HASH                            a block of ours is the tip
//!     done                                    so many blocks are on the chain, and every share has its answer
//!
//! Usage: sri_miner HOST:PORT AUTHORITY_HEX BLOCKS standard-jobs|any-jobs KIND...
//! A KIND is `standard` or `extended`, each a channel on the one connection.

mod channel;
mod wire;

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use channel::{display, Channel, Job};
use common_messages_sv2::{Protocol, SetupConnection};
use mining_sv2::{OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesExtended, SubmitSharesStandard};
use parsers_sv2::{
    AnyMessageOwned, CommonMessages, CommonMessagesOwned, IsSv2Message, Mining, MiningDeviceMessages, MiningOwned,
};
use wire::Wire;

const REQUIRES_STANDARD_JOBS: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(60); // for what must come
const EASIEST: [u8; 32] = [0xff; 32];

type Done = Result<(), String>;

struct Miner {
    wire: Wire,
    channels: Vec<Channel>,
    mined: HashSet<[u8; 32]>, // our blocks that are not seen on the chain yet
    chained: usize,
    owed: u32, // shares without an answer
}

impl Miner {
    fn set_up(&mut self, host: &str, port: u16, flags: u32) -> Done {
        self.send(MiningDeviceMessages::Common(CommonMessages::SetupConnection(SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags,
            endpoint_host: host.try_into().map_err(debug)?,
            endpoint_port: port,
            vendor: "SRI crates".try_into().map_err(debug)?,
            hardware_version: "".try_into().map_err(debug)?,
            firmware: "1".try_into().map_err(debug)?,
            device_id: "".try_into().map_err(debug)?,
        })))?;
        match self.next()? {
            AnyMessageOwned::Common(CommonMessagesOwned::SetupConnectionSuccess(_)) => Ok(()),
            other => Err(format!("no SetupConnection.Success: {other:?}")),
        }
    }

    /// Opens a channel; the next message must be the answer.
    fn open(&mut self, request_id: u32, is_extended: bool) -> Done {
        let user_identity = "sri.crates".try_into().map_err(debug)?;
        let max_target = EASIEST[..].try_into().map_err(debug)?;
        let (nominal_hash_rate, min_extranonce_size) = (1000.0, 4);
        self.send(MiningDeviceMessages::Mining(if is_extended {
            Mining::OpenExtendedMiningChannel(OpenExtendedMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
                min_extranonce_size,
            })
        } else {
            Mining::OpenStandardMiningChannel(OpenStandardMiningChannel {
                request_id,
                user_identity,
                nominal_hash_rate,
                max_target,
            })
        }))?;
        loop {
            let known = match self.next()? {
                AnyMessageOwned::Mining(MiningOwned::OpenExtendedMiningChannelSuccess(m)) if is_extended => {
                    let size = m.extranonce_size as usize;
                    (m.channel_id, m.group_channel_id, m.target, m.extranonce_prefix, Some(size))
                }
                AnyMessageOwned::Mining(MiningOwned::OpenStandardMiningChannelSuccess(m)) if !is_extended => {
                    (m.channel_id, m.group_channel_id, m.target, m.extranonce_prefix, None)
                }
                AnyMessageOwned::Mining(other) if !self.channels.is_empty() => {
                    self.heard(other)?; // work of the channels before
                    continue;
                }
                other => return Err(format!("not the answer to the open: {other:?}")),
            };
            let (id, group, target, prefix, size) = known;
            println!("opened {id} {group} {}", if is_extended { "extended" } else { "standard" });
            self.channels.push(Channel::new(id, group, target.as_bytes(), prefix.as_bytes(), size));
            return Ok(());
        }
    }

    fn heard(&mut self, message: MiningOwned) -> Done {
        match message {
            MiningOwned::NewMiningJob(m) => {
                for channel in self.channels.iter_mut().filter(|each| each.id == m.channel_id) {
                    assert!(!channel.is_extended, "a standard job on an extended channel");
                    channel.new_job(Job::Standard(m.clone()));
                }
            }
            MiningOwned::NewExtendedMiningJob(m) => {
                for channel in self.channels.iter_mut().filter(|each| each.is_meant(m.channel_id)) {
                    channel.new_job(Job::Extended(m.clone()));
                }
            }
            MiningOwned::SetNewPrevHash(m) => {
                for channel in self.channels.iter_mut().filter(|each| each.is_meant(m.channel_id)) {
                    channel.new_tip(m.clone());
                }
                let prev_hash: [u8; 32] = m.prev_hash.as_bytes().try_into().unwrap();
                if self.mined.remove(&prev_hash) {
                    self.chained += 1;
                    println!("chained {}", display(&prev_hash));
                }
            }
            MiningOwned::SetTarget(m) => {
                for channel in self.channels.iter_mut().filter(|each| each.is_meant(m.channel_id)) {
                    channel.target = m.maximum_target.as_bytes().try_into().unwrap();
                }
            }
            MiningOwned::SubmitSharesSuccess(m) => {
                self.owed -= m.new_submits_accepted_count;
                println!("accepted {} {} {}", m.channel_id, m.last_sequence_number, m.new_submits_accepted_count);
            }
            MiningOwned::SubmitSharesError(m) => {
                self.owed -= 1;
                println!("refused {} {} {}", m.channel_id, m.sequence_number, m.error_code.as_utf8_or_hex());
            }
            other => return Err(format!("what is this: {other:?}")),
        }
        Ok(())
    }

    /// Reads until `is_enough`.
    fn until(&mut self, is_enough: impl Fn(&Self) -> bool) -> Done {
        while !is_enough(self) {
            match self.next()? {
                AnyMessageOwned::Mining(message) => self.heard(message)?,
                other => return Err(format!("what is this: {other:?}")),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<AnyMessageOwned, String> {
        let (extension, message) = self.wire.messages.recv_timeout(PATIENCE).map_err(|error| error.to_string())??;
        let is_of_channel = match &message {
            AnyMessageOwned::Mining(m) => m.channel_bit(),
            _ => false,
        };
        if (extension & 0x8000 != 0) != is_of_channel {
            return Err(format!("extension {extension:#06x}: {message:?}"));
        }
        Ok(message)
    }

    fn send(&mut self, message: MiningDeviceMessages<'_>) -> Done {
        self.wire.send(message)
    }

    /// Finds and submits one share on a channel, and reads what came meanwhile.
    fn submit(&mut self, index: usize, is_block: bool) -> Done {
        while let Ok(read) = self.wire.messages.try_recv() {
            if let AnyMessageOwned::Mining(message) = read?.1 {
                self.heard(message)?;
            }
        }
        let channel = &mut self.channels[index];
        let Some(share) = channel.solve(is_block) else { return Ok(()) };
        let (id, sequence_number) = (channel.id, channel.sequence);
        channel.sequence += 1;
        let (job_id, nonce, ntime, version) = (share.job_id, share.nonce, share.ntime, share.version);
        let message = if channel.is_extended {
            let extranonce = share.extranonce[..].try_into().map_err(debug)?;
            Mining::SubmitSharesExtended(SubmitSharesExtended {
                channel_id: id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce,
            })
        } else {
            Mining::SubmitSharesStandard(SubmitSharesStandard {
                channel_id: id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            })
        };
        println!("{} {id} {sequence_number} {}", if is_block { "block" } else { "share" }, share.display());
        if is_block {
            self.mined.insert(share.hash);
        }
        self.owed += 1;
        self.wire.send(MiningDeviceMessages::Mining(message))
    }

    /// Mines on one channel after the other until so many blocks are the chain's.
    fn mine(&mut self, blocks: usize) -> Done {
        self.until(|miner| miner.channels.iter().all(Channel::has_work))?;
        for index in (0..self.channels.len()).cycle() {
            if self.chained >= blocks {
                break;
            }
            self.submit(index, false)?;
            let tip = self.channels[index].prev_hash();
            self.submit(index, true)?;
            self.until(|miner| miner.channels.iter().all(|channel| channel.prev_hash() != tip))?;
        }
        self.until(|miner| miner.owed == 0)?;
        println!("done");
        Ok(())
    }
}

fn run(arguments: &[String]) -> Done {
    let [address, authority, blocks, jobs, kinds @ ..] = arguments else {
        return Err("HOST:PORT AUTHORITY_HEX BLOCKS standard-jobs|any-jobs KIND...".into());
    };
    let (host, port) = address.rsplit_once(':').ok_or("no port")?;
    let wire = Wire::connect(address, key(authority)?)?;
    let mut miner = Miner { wire, channels: Vec::new(), mined: HashSet::new(), chained: 0, owed: 0 };
    let flags = if jobs == "standard-jobs" { REQUIRES_STANDARD_JOBS } else { 0 };
    miner.set_up(host, port.parse().map_err(debug)?, flags)?;
    for (request_id, kind) in kinds.iter().enumerate() {
        miner.open(request_id as u32 + 1, kind == "extended")?;
    }
    miner.mine(blocks.parse().map_err(debug)?)
}

fn key(hex: &str) -> Result<[u8; 32], String> {
    let bytes: Result<Vec<u8>, _> =
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16)).collect();
    bytes.map_err(debug)?.try_into().map_err(|_| "a key has 32 bytes".into())
}

fn debug(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("sri_miner: {reason}");
            ExitCode::FAILURE
        }
    }
}
