//! The table of all calls: their numbers, requests and replies.

use serde::{Serialize, de::DeserializeOwned};

use crate::{calls::*, codec, codec::CodecError};

/// A call: its request type names its number and its reply type.
pub trait Rpc: Serialize + DeserializeOwned + Sized {
    /// The call's name.
    const NAME: &'static str;
    /// The number of its kind of frame.
    const KIND: u8;
    /// What a success is answered with.
    type Reply;

    /// The request among all requests.
    fn into_call(self) -> Call;

    /// The reply out of all replies; `None` if it is another call's.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! calls {
    ($($number:literal $name:ident($request:ty) -> $reply:ty,)*) => {
        /// Any request.
        #[derive(Clone, Debug)]
        pub enum Call {
            $(#[doc = concat!("Call number ", stringify!($number), ".")] $name(Box<$request>),)*
        }

        /// What any call is answered with when it succeeds.
        #[derive(Clone, Debug)]
        pub enum Reply {
            $(#[doc = concat!("Answer to call number ", stringify!($number), ".")] $name($reply),)*
        }

        impl Call {
            /// The number of its kind of frame.
            pub fn kind(&self) -> u8 {
                match self { $(Call::$name(_) => $number,)* }
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Call::$name(_) => stringify!($name),)* }
            }

            /// The name of call number `kind`, if there is one.
            pub fn name_of(kind: u8) -> Option<&'static str> {
                match kind { $($number => Some(stringify!($name)),)* _ => None }
            }

            pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
                match self { $(Call::$name(request) => codec::encode(out, request),)* }
            }

            /// `None` if no call has that number.
            pub(crate) fn decode(kind: u8, header: &[u8]) -> Option<Result<Self, CodecError>> {
                match kind {
                    $($number => Some(codec::decode(header).map(|request| Call::$name(Box::new(request)))),)*
                    _ => None,
                }
            }
        }

        impl Reply {
            /// The number of the call that it answers.
            pub fn kind(&self) -> u8 {
                match self { $(Reply::$name(_) => $number,)* }
            }

            pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
                match self { $(Reply::$name(reply) => codec::encode(out, reply),)* }
            }

            /// `None` if no call has that number.
            pub(crate) fn decode(kind: u8, header: &[u8]) -> Option<Result<Self, CodecError>> {
                match kind {
                    $($number => Some(codec::decode(header).map(Reply::$name)),)*
                    _ => None,
                }
            }
        }

        $(impl Rpc for $request {
            const NAME: &'static str = stringify!($name);
            const KIND: u8 = $number;
            type Reply = $reply;

            fn into_call(self) -> Call {
                Call::$name(Box::new(self))
            }

            fn reply(reply: Reply) -> Option<$reply> {
                match reply {
                    Reply::$name(reply) => Some(reply),
                    _ => None,
                }
            }
        })*
    };
}

calls! {
    16 GetDevices(GetDevicesRequest) -> GetDevicesReply,
    17 CreateContext(CreateContextRequest) -> CreateContextReply,
    18 CloseContext(CloseContextRequest) -> CloseContextReply,
    19 KeepAlive(KeepAliveRequest) -> KeepAliveReply,
    20 SendReadyChains(SendReadyChainsRequest) -> SendReadyChainsReply,
    21 RegisterFunction(RegisterFunctionRequest) -> RegisterFunctionReply,
    22 UnregisterFunction(UnregisterFunctionRequest) -> UnregisterFunctionReply,
    23 RemoteExecute(RemoteExecuteRequest) -> RemoteExecuteReply,
    24 RemoteExecuteOp(RemoteExecuteOpRequest) -> RemoteExecuteOpReply,
    25 DeleteObjects(DeleteObjectsRequest) -> DeleteObjectsReply,
    26 FetchObject(FetchObjectRequest) -> FetchObjectReply,
    27 PutObject(PutObjectRequest) -> PutObjectReply,
    28 SendData(SendDataRequest) -> SendDataReply,
    29 Cancel(CancelRequest) -> CancelReply,
    30 FailObjects(FailObjectsRequest) -> FailObjectsReply,
    31 PinObjects(PinObjectsRequest) -> PinObjectsReply,
    32 ExportObject(ExportObjectRequest) -> ExportObjectReply,
    33 ImportObject(ImportObjectRequest) -> ImportObjectReply,
    34 ListObjects(ListObjectsRequest) -> ListObjectsReply,
    35 BeginPut(BeginPutRequest) -> BeginPutReply,
    36 PutPart(PutPartRequest) -> PutPartReply,
    37 FetchPart(FetchPartRequest) -> FetchPartReply,
}
