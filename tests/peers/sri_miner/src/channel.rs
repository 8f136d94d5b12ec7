//! One channel: what the pool said of it, and the headers that can be hashed on it.

use std::collections::HashMap;

use bitcoin_hashes::{sha256d, Hash};
use mining_sv2::{NewExtendedMiningJobOwned, NewMiningJobOwned, SetNewPrevHashOwned};

const ROLLED: u32 = 0x00ab_c000; // version bits that are set where the pool lets them be rolled

/// A job of either kind.
#[derive(Clone)]
pub enum Job {
    Standard(NewMiningJobOwned),
    Extended(NewExtendedMiningJobOwned),
}

impl Job {
    pub fn id(&self) -> u32 {
        match self {
            Job::Standard(job) => job.job_id,
            Job::Extended(job) => job.job_id,
        }
    }

    fn min_ntime(&self) -> Option<u32> {
        match self {
            Job::Standard(job) => job.min_ntime.clone().into_inner(),
            Job::Extended(job) => job.min_ntime.clone().into_inner(),
        }
    }
}

/// A header that was hashed, and the fields of its submission.
pub struct Share {
    pub hash: [u8; 32], // header order
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    pub extranonce: Vec<u8>,
}

impl Share {
    /// The hash as nodes write it.
    pub fn display(&self) -> String {
        display(&self.hash)
    }
}

pub struct Channel {
    pub id: u32,
    pub group: u32, // 0: none
    pub is_extended: bool,
    pub target: [u8; 32], // little-endian
    pub sequence: u32,
    prefix: Vec<u8>,
    rollable: usize, // bytes
    future: HashMap<u32, Job>,
    job: Option<Job>,
    tip: Option<SetNewPrevHashOwned>,
}

impl Channel {
    pub fn new(id: u32, group: u32, target: &[u8], prefix: &[u8], rollable: Option<usize>) -> Self {
        Self {
            id,
            group,
            is_extended: rollable.is_some(),
            target: target.try_into().expect("a target has 32 bytes"),
            sequence: 0,
            prefix: prefix.to_vec(),
            rollable: rollable.unwrap_or(0),
            future: HashMap::new(),
            job: None,
            tip: None,
        }
    }

    /// True if a message for `id` is for this channel.
    pub fn is_meant(&self, id: u32) -> bool {
        id == self.id || (self.group != 0 && id == self.group)
    }

    pub fn new_job(&mut self, job: Job) {
        if job.min_ntime().is_none() {
            self.future.insert(job.id(), job);
        } else {
            assert!(self.tip.is_some(), "a job to be hashed now, before any SetNewPrevHash");
            self.job = Some(job);
        }
    }

    /// The tip that stands; its job must have come before.
    pub fn new_tip(&mut self, tip: SetNewPrevHashOwned) {
        let job = self.future.remove(&tip.job_id);
        self.job = Some(job.expect("SetNewPrevHash names no future job of this channel"));
        self.future.clear();
        self.tip = Some(tip);
    }

    /// The hash of the last block, in header order; all zeros while there is no work.
    pub fn prev_hash(&self) -> [u8; 32] {
        self.tip.as_ref().map_or([0; 32], |tip| tip.prev_hash.as_bytes().try_into().unwrap())
    }

    pub fn has_work(&self) -> bool {
        self.job.is_some()
    }

    /// A share that is a block, or one that is not; None if the pool's target lets none of that kind be.
    pub fn solve(&self, is_block: bool) -> Option<Share> {
        let (job, tip) = (self.job.as_ref()?, self.tip.as_ref()?);
        let network = target_of(tip.nbits);
        if !is_block && !is_at_most(&network, &self.target) {
            return None;
        }
        let extranonce = self.extranonce();
        let (version, root) = self.version_and_root(job, &extranonce);
        let ntime = tip.min_ntime.max(job.min_ntime().unwrap_or(0));
        let mut header = Vec::with_capacity(80);
        header.extend(version.to_le_bytes());
        header.extend(tip.prev_hash.as_bytes());
        header.extend(root);
        header.extend(ntime.to_le_bytes());
        header.extend(tip.nbits.to_le_bytes());
        header.extend([0; 4]);
        for nonce in 0..=u32::MAX {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            let hash = sha256d(&header);
            let is_wanted = if is_block {
                is_at_most(&hash, &network)
            } else {
                is_at_most(&hash, &self.target) && !is_at_most(&hash, &network)
            };
            if is_wanted {
                return Some(Share { hash, job_id: job.id(), nonce, ntime, version, extranonce });
            }
        }
        None
    }

    fn extranonce(&self) -> Vec<u8> {
        let mut extranonce = vec![0; self.rollable];
        for (place, byte) in extranonce.iter_mut().rev().zip(self.sequence.to_le_bytes()) {
            *place = byte;
        }
        extranonce
    }

    fn version_and_root(&self, job: &Job, extranonce: &[u8]) -> (u32, [u8; 32]) {
        match job {
            Job::Standard(job) => (job.version | ROLLED, job.merkle_root.as_bytes().try_into().unwrap()),
            Job::Extended(job) => {
                let mut coinbase = job.coinbase_tx_prefix.as_bytes().to_vec();
                coinbase.extend(&self.prefix);
                coinbase.extend(extranonce);
                coinbase.extend(job.coinbase_tx_suffix.as_bytes());
                let root = job
                    .merkle_path
                    .as_slice()
                    .iter()
                    .fold(sha256d(&coinbase), |root, step| sha256d(&[&root[..], step.as_bytes()].concat()));
                (if job.version_rolling_allowed { job.version | ROLLED } else { job.version }, root)
            }
        }
    }
}

/// A hash in header order, as nodes write it.
pub fn display(hash: &[u8]) -> String {
    hash.iter().rev().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256d(data: &[u8]) -> [u8; 32] {
    sha256d::Hash::hash(data).to_byte_array()
}

/// Compares two numbers of 32 bytes, little-endian.
fn is_at_most(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().rev().le(other.iter().rev())
}

fn target_of(nbits: u32) -> [u8; 32] {
    let (mantissa, exponent) = (nbits & 0x7f_ffff, (nbits >> 24) as usize);
    let mut target = [0; 32];
    for (index, byte) in mantissa.to_le_bytes()[..3].iter().enumerate() {
        if let Some(place) = (exponent + index).checked_sub(3).and_then(|at| target.get_mut(at)) {
            *place = *byte;
        }
    }
    target
}
