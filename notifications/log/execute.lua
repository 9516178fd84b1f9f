-- Executes the operation of this call.
local is_done, reply = pcall(function()
  load_state()
  return operations[operation]()
end)
if is_done then return reply end
if added > 0 then return {'unknown', fault_of(reply)} end
return {err = fault_of(reply) .. NOTHING_KEPT}
