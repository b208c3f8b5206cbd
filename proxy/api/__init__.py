"""What the operator wrote: Envoy v3 messages. No behaviour; knows nothing of sockets, the loop or the clock.

pool      the private DescriptorPool: message classes by name, Any and TypedStruct unpacked
load      YAML and JSON into messages, as leniently as Envoy; every error with its path and file:line
validate  the rules of the API (protoc-gen-validate), read from the descriptors
reader    a message being compiled: knows its path, and which set fields nobody read
support   writes docs/support.md: which fields of which messages are honoured, found in the code
"""
