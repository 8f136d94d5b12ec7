//! A connection: SRI's handshake and codec over a blocking socket, read by a thread of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{channel, Receiver};
use std::thread;

use codec_sv2::{Decrypted, Handshake, NoiseDecoder, NoiseEncoder, TransportDecryptState, TransportEncryptState};
use framing_sv2::framing::MessageFrame;
use noise_sv2::{Initiator, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE};
use parsers_sv2::{AnyMessage, AnyMessageOwned, MiningDeviceMessages};

/// What was read: a message, and the extension word of its frame with the channel bit.
pub type Heard = (u16, AnyMessageOwned);

pub struct Wire {
    socket: TcpStream,
    encoder: NoiseEncoder,
    state: TransportEncryptState,
    pub messages: Receiver<Result<Heard, String>>,
}

impl Wire {
    /// Connects and shakes hands; the certificate must be signed by `authority`, an x-only key.
    pub fn connect(address: &str, authority: [u8; 32]) -> Result<Self, String> {
        let mut socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
        socket.set_nodelay(true).map_err(|error| error.to_string())?;
        let initiator = Initiator::from_raw_k(authority).map_err(|error| format!("{error:?}"))?;
        let (act_one, handshake) = Handshake::initiator(initiator).step_0().map_err(|error| format!("{error:?}"))?;
        socket.write_all(act_one.payload()).map_err(|error| error.to_string())?;
        let mut act_two = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
        socket.read_exact(&mut act_two).map_err(|error| format!("handshake: {error}"))?;
        let transport = handshake.step_2(act_two).map_err(|error| format!("handshake: {error:?}"))?;
        let (state, decrypt) = transport.split();
        let (sender, messages) = channel();
        let reader = socket.try_clone().map_err(|error| error.to_string())?;
        thread::spawn(move || {
            let mut frames = Frames { socket: reader, decoder: NoiseDecoder::new(), state: Some(decrypt) };
            loop {
                let read = frames.next();
                let is_over = read.is_err();
                if sender.send(read).is_err() || is_over {
                    break;
                }
            }
        });
        Ok(Self { socket, encoder: NoiseEncoder::new(), state, messages })
    }

    pub fn send(&mut self, message: MiningDeviceMessages<'_>) -> Result<(), String> {
        let frame = MessageFrame::try_from(message).map_err(|error| format!("{error:?}"))?;
        let bytes = self.encoder.encode_transport(frame, &mut self.state).map_err(|error| format!("{error:?}"))?;
        self.socket.write_all(bytes.as_ref()).map_err(|error| error.to_string())
    }
}

struct Frames {
    socket: TcpStream,
    decoder: NoiseDecoder,
    state: Option<TransportDecryptState>,
}

impl Frames {
    fn next(&mut self) -> Result<Heard, String> {
        loop {
            let state = self.state.take().expect("no frame is read after an error");
            match self.decoder.next_transport_frame(state).map_err(|error| format!("{error:?}"))? {
                Decrypted::Incomplete(_, state) => {
                    self.state = Some(state);
                    self.socket.read_exact(self.decoder.writable()).map_err(|_| "the pool closed".to_string())?;
                }
                Decrypted::Frame(mut frame, state) => {
                    self.state = Some(state);
                    let header = frame.header();
                    let message = AnyMessage::try_from((header, frame.payload()))
                        .map_err(|error| format!("message {:#04x}: {error:?}", header.msg_type()))?;
                    return Ok((header.ext_type(), message.into_owned()));
                }
            }
        }
    }
}
