//! The texts of the login.

words! {
    LoginWords {
        title: "登录", "Sign in";
        name: "用户名", "User name";
        password: "密码", "Password";
        new_password: "新密码", "New password";
        repeat: "再次输入", "Repeat it";
        rule: "至少 12 个字符。", "At least 12 characters.";
        submit: "登录", "Sign in";
        wrong: "用户名或密码不正确。", "The user name or the password is not right.";
        slow: "尝试次数过多，请稍后再试。", "Too many attempts. Wait a moment and try again.";
        short: "密码至少需要 12 个字符，最多 256 个字节。", "A password has at least 12 characters and at most 256 bytes.";
        differs: "两次输入的密码不一致。", "The two passwords differ.";
        is_name: "密码不能与用户名相同。", "The password must not be the user name.";
        no_account: "没有账号？请管理员为你创建邀请链接。",
            "No account? An administrator can make an invitation for you.";
        invitation: "设置密码", "Set your password";
        invitation_for: "用户名", "User name";
        gone_title: "链接已失效", "This link is no longer good";
        gone: "链接只能使用一次，15 分钟内有效。请管理员重新创建。",
            "A link is good once and for 15 minutes. Ask an administrator for another one.";
        set: "密码已设置，请登录。", "The password is set. Sign in with it.";
        changed: "密码已修改，其他会话已结束。", "The password is changed, and all other sessions have ended.";
    }
}
