-- Shared beginning of publish.lua, read.lua and renew.lua: whether a log has lost acknowledged messages.

-- The log is known to have had the message `id` at `offset` of `epoch`; it stands at `top` of `top_epoch` now,
-- with `top_id` there. The numbers alone would count again and be taken for the same messages, so a log that has
-- rewound gets another epoch: everybody who stands in the old one is told, those included who were behind the loss
-- and could not tell by their own positions.
local function has_rewound(top_epoch, top, top_id, epoch, offset, id)
  if top_epoch ~= epoch or offset == 0 then
    return false
  end
  return offset > top or (offset == top and id ~= top_id)
end
