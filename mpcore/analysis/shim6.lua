-- Shim6 for Wireshark and tshark: all messages and options of RFC 5533 and RFC 5534.
--
--   tshark -X lua_script:"$(mpcore inspect --lua)" -r FILE -V
--
-- It takes the place of Wireshark's own dissector for protocol 140, which reads the fields of control messages
-- one octet early and loses the options (seen with 4.0.17). Filters begin with `mpshim6`.

local shim6 = Proto("mpshim6", "Shim6 (RFC 5533)")

local MESSAGES = {
  [1] = "I1", [2] = "R1", [3] = "I2", [4] = "R2", [5] = "R1bis", [6] = "I2bis",
  [64] = "Update Request", [65] = "Update Acknowledgement", [66] = "Keepalive", [67] = "Probe", [68] = "Error",
}
local OPTIONS = {
  [1] = "Responder Validator", [2] = "Locator List", [3] = "Locator Preferences", [4] = "CGA Parameter Data Structure",
  [5] = "CGA Signature", [6] = "ULID Pair", [7] = "Forked Instance Identifier", [10] = "Keepalive Timeout",
}
local METHODS = { [1] = "HBA", [2] = "CGA" } -- RFC 5533 section 5.15.2; section 17 has them the other way round
local STATES = { [0] = "Operational", [1] = "Exploring", [2] = "InboundOk" }
local ERRORS = {
  [0] = "unknown message type", [1] = "critical option not recognized", [2] = "locator verification failed",
  [3] = "locator list generation out of sync", [4] = "wrong number of locators",
}
local HEADER, ADDRESS, PROBE = 8, 16, 40
-- Where the options begin; a Keepalive has reserved octets before, a Probe its entries, an Error no options.
local OPTIONS_AT = { [1] = 16, [2] = 16, [3] = 24, [4] = 16, [5] = 16, [6] = 32, [64] = 16, [65] = 16, [66] = 16 }

local fields = {
  next_header = ProtoField.uint8("mpshim6.nxt", "Next Header"),
  length = ProtoField.uint8("mpshim6.len", "Header Ext Length", base.DEC, nil, nil, "in units of 8 octets, without the first"),
  payload = ProtoField.bool("mpshim6.p", "Payload", 8, { "payload extension header", "control message" }, 0x80),
  kind = ProtoField.uint8("mpshim6.type", "Type", base.DEC, MESSAGES, 0x7f),
  special = ProtoField.bool("mpshim6.s", "Special (HIP)", 8, nil, 0x01),
  checksum = ProtoField.uint16("mpshim6.checksum", "Checksum", base.HEX),
  valid = ProtoField.bool("mpshim6.checksum.ok", "Checksum is right"),
  tag = ProtoField.uint64("mpshim6.ct", "Context Tag", base.HEX),
  initiator_tag = ProtoField.uint64("mpshim6.ct.initiator", "Initiator Context Tag", base.HEX),
  responder_tag = ProtoField.uint64("mpshim6.ct.responder", "Responder Context Tag", base.HEX),
  packet_tag = ProtoField.uint64("mpshim6.ct.packet", "Packet Context Tag", base.HEX),
  receiver_tag = ProtoField.uint64("mpshim6.ct.receiver", "Receiver Context Tag", base.HEX),
  initiator_nonce = ProtoField.uint32("mpshim6.nonce.initiator", "Initiator Nonce", base.HEX),
  responder_nonce = ProtoField.uint32("mpshim6.nonce.responder", "Responder Nonce", base.HEX),
  request_nonce = ProtoField.uint32("mpshim6.nonce.request", "Request Nonce", base.HEX),
  received = ProtoField.uint8("mpshim6.probe.received", "Probes Received", base.DEC, nil, 0xf0),
  sent = ProtoField.uint8("mpshim6.probe.sent", "Probes Sent", base.DEC, nil, 0x0f),
  state = ProtoField.uint8("mpshim6.probe.state", "State", base.DEC, STATES, 0xc0),
  probe_source = ProtoField.ipv6("mpshim6.probe.src", "Source"),
  probe_destination = ProtoField.ipv6("mpshim6.probe.dst", "Destination"),
  probe_nonce = ProtoField.uint32("mpshim6.probe.nonce", "Nonce", base.HEX),
  probe_data = ProtoField.uint32("mpshim6.probe.data", "Data", base.HEX),
  code = ProtoField.uint8("mpshim6.error.code", "Code", base.DEC, ERRORS, 0xfe),
  pointer = ProtoField.uint16("mpshim6.error.pointer", "Pointer"),
  packet = ProtoField.bytes("mpshim6.error.packet", "Packet in error"),
  option = ProtoField.uint16("mpshim6.opt.type", "Option Type", base.DEC, OPTIONS, 0xfffe),
  critical = ProtoField.bool("mpshim6.opt.critical", "Critical", 16, nil, 0x0001),
  option_length = ProtoField.uint16("mpshim6.opt.len", "Option Length"),
  contents = ProtoField.bytes("mpshim6.opt.data", "Contents"),
  generation = ProtoField.uint32("mpshim6.opt.generation", "Locator List Generation", base.HEX),
  number = ProtoField.uint8("mpshim6.opt.locators", "Number of Locators"),
  method = ProtoField.uint8("mpshim6.opt.method", "Verification Method", base.DEC, METHODS),
  locator = ProtoField.ipv6("mpshim6.opt.locator", "Locator"),
  element_length = ProtoField.uint8("mpshim6.opt.element_len", "Element Length"),
  broken = ProtoField.bool("mpshim6.opt.broken", "BROKEN", 8, nil, 0x01),
  transient = ProtoField.bool("mpshim6.opt.transient", "TRANSIENT", 8, nil, 0x02),
  priority = ProtoField.uint8("mpshim6.opt.priority", "Priority"),
  weight = ProtoField.uint8("mpshim6.opt.weight", "Weight"),
  ulid_sender = ProtoField.ipv6("mpshim6.opt.ulid.sender", "Sender ULID"),
  ulid_receiver = ProtoField.ipv6("mpshim6.opt.ulid.receiver", "Receiver ULID"),
  fii = ProtoField.uint32("mpshim6.opt.fii", "Forked Instance Identifier"),
  timeout = ProtoField.uint16("mpshim6.opt.timeout", "Keepalive Timeout, s"),
}
shim6.fields = fields

local malformed = ProtoExpert.new("mpshim6.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
local wrong_sum = ProtoExpert.new("mpshim6.wrong_checksum", "Wrong checksum", expert.group.CHECKSUM, expert.severity.ERROR)
shim6.experts = { malformed, wrong_sum }

local ip_protocols = DissectorTable.get("ip.proto")

-- A tag is the last 47 of 48 bits; the first one is P, or reserved.
local function add_tag(tree, field, range)
  local value = UInt64.new(range(2, 4):uint(), bit.band(range(0, 2):uint(), 0x7fff))
  tree:add(field, range, value)
end

-- One's complement over the header alone, without pseudo-header (RFC 5533 section 5.3).
local function checksum_ok(tvb, size)
  local sum = 0
  for at = 0, size - 2, 2 do
    sum = sum + tvb(at, 2):uint()
  end
  while sum > 0xffff do
    sum = bit.band(sum, 0xffff) + bit.rshift(sum, 16)
  end
  return sum == 0xffff
end

-- Each gets the contents of an option and may rely on `least` octets of them.
local option_bodies = {
  [2] = { least = 5, add = function(tree, range)
    local count = range(4, 1):uint()
    -- Padding behind the methods to 8 octets from the option's start is part of the contents.
    local at = 5 + count + (7 - count % 8)
    tree:add(fields.generation, range(0, 4))
    tree:add(fields.number, range(4, 1))
    if range:len() < at + ADDRESS * count then
      tree:add_proto_expert_info(malformed)
      return
    end
    for index = 0, count - 1 do
      tree:add(fields.method, range(5 + index, 1))
      tree:add(fields.locator, range(at + ADDRESS * index, ADDRESS))
    end
  end },
  [3] = { least = 5, add = function(tree, range)
    local size, at = range(4, 1):uint(), 5
    tree:add(fields.generation, range(0, 4))
    tree:add(fields.element_length, range(4, 1))
    while size > 0 and at + size <= range:len() do
      local element = tree:add(range(at, size), "Element")
      element:add(fields.broken, range(at, 1))
      element:add(fields.transient, range(at, 1))
      if size > 1 then element:add(fields.priority, range(at + 1, 1)) end
      if size > 2 then element:add(fields.weight, range(at + 2, 1)) end
      at = at + size
    end
  end },
  [6] = { least = 36, add = function(tree, range)
    tree:add(fields.ulid_sender, range(4, ADDRESS))
    tree:add(fields.ulid_receiver, range(4 + ADDRESS, ADDRESS))
  end },
  [7] = { least = 4, add = function(tree, range) tree:add(fields.fii, range(0, 4)) end },
  [10] = { least = 4, add = function(tree, range) tree:add(fields.timeout, range(2, 2)) end },
}

local function add_options(tvb, tree, at, size)
  while at + 4 <= size do
    local kind = bit.rshift(tvb(at, 2):uint(), 1)
    local length = tvb(at + 2, 2):uint()
    local total = 11 + length - (length + 3) % 8 -- RFC 5533 section 5.15
    if total > size - at then
      tree:add_proto_expert_info(malformed)
      return
    end
    local option = tree:add(tvb(at, total), "Option: " .. (OPTIONS[kind] or tostring(kind)))
    option:add(fields.option, tvb(at, 2))
    option:add(fields.critical, tvb(at, 2))
    option:add(fields.option_length, tvb(at + 2, 2))
    local body = option_bodies[kind]
    if body and length >= body.least then
      body.add(option, tvb(at + 4, length))
    elseif length > 0 then
      option:add(fields.contents, tvb(at + 4, length))
    end
    at = at + total
  end
end

local function add_probe(tvb, tree, size)
  local sent, received = bit.band(tvb(12, 1):uint(), 15), bit.rshift(tvb(12, 1):uint(), 4)
  add_tag(tree, fields.receiver_tag, tvb(6, 6))
  tree:add(fields.received, tvb(12, 1))
  tree:add(fields.sent, tvb(12, 1))
  tree:add(fields.state, tvb(13, 1))
  local at = 16
  if at + PROBE * (sent + received) > size then
    tree:add_proto_expert_info(malformed)
    return
  end
  for index = 1, sent + received do
    local entry = tree:add(tvb(at, PROBE), index <= sent and "Probe sent" or "Probe received")
    entry:add(fields.probe_source, tvb(at, ADDRESS))
    entry:add(fields.probe_destination, tvb(at + 16, ADDRESS))
    entry:add(fields.probe_nonce, tvb(at + 32, 4))
    entry:add(fields.probe_data, tvb(at + 36, 4))
    at = at + PROBE
  end
  add_options(tvb, tree, at, size)
end

local bodies = {
  [1] = function(tvb, tree)
    add_tag(tree, fields.initiator_tag, tvb(6, 6))
    tree:add(fields.initiator_nonce, tvb(12, 4))
  end,
  [2] = function(tvb, tree)
    tree:add(fields.initiator_nonce, tvb(8, 4))
    tree:add(fields.responder_nonce, tvb(12, 4))
  end,
  [3] = function(tvb, tree)
    add_tag(tree, fields.initiator_tag, tvb(6, 6))
    tree:add(fields.initiator_nonce, tvb(12, 4))
    tree:add(fields.responder_nonce, tvb(16, 4))
  end,
  [4] = function(tvb, tree)
    add_tag(tree, fields.responder_tag, tvb(6, 6))
    tree:add(fields.initiator_nonce, tvb(12, 4))
  end,
  [5] = function(tvb, tree)
    add_tag(tree, fields.packet_tag, tvb(6, 6))
    tree:add(fields.responder_nonce, tvb(12, 4))
  end,
  [6] = function(tvb, tree)
    add_tag(tree, fields.initiator_tag, tvb(6, 6))
    tree:add(fields.initiator_nonce, tvb(12, 4))
    tree:add(fields.responder_nonce, tvb(16, 4))
    add_tag(tree, fields.packet_tag, tvb(26, 6)) -- behind 49 reserved bits
  end,
  [66] = function(tvb, tree) add_tag(tree, fields.receiver_tag, tvb(6, 6)) end,
  [67] = add_probe,
  [68] = function(tvb, tree, size)
    tree:add(fields.code, tvb(3, 1))
    tree:add(fields.pointer, tvb(6, 2))
    if size > HEADER then tree:add(fields.packet, tvb(HEADER, size - HEADER)) end
  end,
}
local function add_update(tvb, tree)
  add_tag(tree, fields.receiver_tag, tvb(6, 6))
  tree:add(fields.request_nonce, tvb(12, 4))
end
bodies[64], bodies[65] = add_update, add_update

local function add_control(tvb, pinfo, tree, size)
  local kind = bit.band(tvb(2, 1):uint(), 0x7f)
  tree:add(fields.kind, tvb(2, 1))
  tree:add(fields.special, tvb(3, 1))
  tree:add(fields.checksum, tvb(4, 2))
  local right = checksum_ok(tvb, size)
  tree:add(fields.valid, tvb(4, 2), right):set_generated()
  if not right then tree:add_proto_expert_info(wrong_sum) end
  pinfo.cols.info = MESSAGES[kind] or ("type " .. kind)
  local body = bodies[kind]
  if not body then return end
  if size < (OPTIONS_AT[kind] or HEADER * 2) then
    tree:add_proto_expert_info(malformed)
    return
  end
  body(tvb, tree, size)
  if OPTIONS_AT[kind] then add_options(tvb, tree, OPTIONS_AT[kind], size) end
end

function shim6.dissector(tvb, pinfo, root)
  if tvb:len() < HEADER then return 0 end
  local size = HEADER * (tvb(1, 1):uint() + 1)
  local shown = math.min(size, tvb:len())
  local tree = root:add(shim6, tvb(0, shown))
  pinfo.cols.protocol = "Shim6"
  tree:add(fields.next_header, tvb(0, 1))
  tree:add(fields.length, tvb(1, 1))
  tree:add(fields.payload, tvb(2, 1))
  if size > tvb:len() then
    tree:add_proto_expert_info(malformed)
  elseif bit.band(tvb(2, 1):uint(), 0x80) == 0 then
    add_control(tvb, pinfo, tree, size)
  else
    add_tag(tree, fields.tag, tvb(2, 6))
    if tvb:len() > size then
      ip_protocols:try(tvb(0, 1):uint(), tvb(size):tvb(), pinfo, root)
    end
  end
  return tvb:len()
end

ip_protocols:add(140, shim6)
