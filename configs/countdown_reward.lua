-- A reward in Lua (reward.list = { lua = 1 }, reward.lua = "configs/countdown_reward.lua"): whether the expression behind the last
-- "####" uses each given number once and makes the target. row: the item of the data with `response`, `prompt`, `gold`,
-- `tokens`, `stop`. Returns score, outcome, why. An error here is an infrastructure failure: the sample is left out, not marked down.
function reward(row)
    local expr = row.response:match("^.*####%s*([%d%s%+%-]+)$")
    if not expr then return 0, "unparsable", "no expression behind ####" end
    local used, value = {}, 0
    for sign, digits in ("+" .. expr):gmatch("([%+%-])%s*(%d+)") do
        used[#used + 1] = tonumber(digits)
        value = sign == "+" and value + used[#used] or value - used[#used]
    end
    table.sort(used)
    if table.concat(used, ",") ~= table.concat(row.item.meta.numbers, ",") then return 0, "wrong", "not each number once" end
    if value ~= row.item.meta.target then return 0, "wrong", expr .. " makes " .. value end
    return 1, "right", expr .. " makes " .. value
end
